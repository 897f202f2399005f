/** Milliseconds of the one clock that all processes of this machine share, Python's `time.monotonic_ns` too. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6
