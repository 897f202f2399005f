/** The machine's root store of Windows. Source: Microsoft, certutil. */
import type { Run, TrustStore } from './store.ts'

export function windowsStores(run: Run): TrustStore[] {
  return [
    {
      name: 'the Windows root store',
      has: (root) =>
        run('certutil.exe', ['-store', 'Root', root.thumbprint]).then(
          () => true,
          () => false,
        ),
      async install(root) {
        await run('certutil.exe', ['-f', '-addstore', 'Root', root.file])
      },
      async uninstall(root) {
        await run('certutil.exe', ['-delstore', 'Root', root.thumbprint])
      },
    },
  ]
}
