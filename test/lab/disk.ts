/** A small disk of its own, which can be filled and can fail as a real one does: ext4 in a file. */
import { open, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { execa } from 'execa'
import { temporaryDirectory } from './gateway.ts'

export interface Disk {
  /** Where it is mounted. */
  readonly path: string
  /** Leaves not one block. */
  fill(): Promise<void>
  free(): Promise<void>
  /** An error of the file system, upon which Linux makes it read-only. */
  fail(): Promise<void>
  /** Checks it and mounts it anew, for which nobody may use it. */
  repair(): Promise<void>
  remount(how: 'ro' | 'rw'): Promise<void>
  close(): Promise<void>
}

const bytes = 64 * 1024 * 1024

export async function createDisk(): Promise<Disk> {
  const folder = await temporaryDirectory()
  const image = join(folder.path, 'image')
  const path = join(folder.path, 'disk')
  const ballast = join(path, 'ballast')
  const made = await open(image, 'w')
  await made.truncate(bytes)
  await made.close()
  // Blocks of 4 KiB, as on any disk that is not this small; none kept back for root.
  await execa`mke2fs -q -t ext4 -b 4096 -m 0 ${image}`
  await execa`mkdir ${path}`
  const mount = () => execa`mount -o loop,errors=remount-ro ${image} ${path}`
  await mount()
  return {
    path,
    async fill() {
      const file = await open(ballast, 'a')
      try {
        const block = Buffer.alloc(4_096)
        for (let left = true; left;)
          left = await file.write(block).then(
            () => true,
            () => false,
          )
        await file.sync().catch(() => {})
      } finally {
        await file.close()
      }
    },
    free: () => rm(ballast, { force: true }),
    async fail() {
      const { stdout: device } = await execa`findmnt -no SOURCE ${path}`
      await writeFile(`/sys/fs/ext4/${basename(device)}/trigger_fs_error`, '1')
    },
    async repair() {
      await execa`umount ${path}`
      // It ends with 1 where it mended something.
      await execa({ reject: false })`e2fsck -fy ${image}`
      await mount()
    },
    async remount(how) {
      await execa`mount -o remount,${how} ${path}`
    },
    async close() {
      await execa({ reject: false })`umount ${path}`
      await folder.remove()
    },
  }
}
