/** What every trust store can do, whichever system's it is. */
export interface TrustStore {
  /** For people: `Debian’s system store`, `Firefox (default-release)`. */
  readonly name: string
  /** Whether the root is trusted there now. */
  has(root: Root): Promise<boolean>
  install(root: Root): Promise<void>
  uninstall(root: Root): Promise<void>
}

export interface Root {
  /** PEM. */
  readonly pem: string
  /** A file that holds it. */
  readonly file: string
  /** Of the CA, for people. */
  readonly name: string
  /** SHA-256, upper-case hex in pairs with colons. */
  readonly fingerprint: string
  /** SHA-1, upper-case hex: what macOS and Windows know certificates by. */
  readonly thumbprint: string
}

/** Runs a program without a shell; rejects where it fails. */
export type Run = (file: string, args: readonly string[]) => Promise<{ readonly stdout: string }>

/** A file name of ours for a root: another root has another one. */
export function fileName({ fingerprint }: Root): string {
  return `sotto-${fingerprint.replaceAll(':', '').slice(0, 16).toLowerCase()}`
}
