/** The System keychain of macOS. Source: security(1); mkcert, `truststore_darwin.go`. */
import type { Run, TrustStore } from './store.ts'

const keychain = '/Library/Keychains/System.keychain'

export function macosStores(run: Run): TrustStore[] {
  return [
    {
      name: 'the System keychain',
      has: (root) =>
        run('security', ['verify-cert', '-c', root.file, '-L', '-l', '-q']).then(
          () => true,
          () => false,
        ),
      async install(root) {
        await run('security', ['add-trusted-cert', '-d', '-r', 'trustRoot', '-k', keychain, root.file])
      },
      async uninstall(root) {
        await run('security', ['remove-trusted-cert', '-d', root.file])
        await run('security', ['delete-certificate', '-Z', root.thumbprint, keychain])
      },
    },
  ]
}
