import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{certs,provisioning,gateway}/src/**/*.test.ts', 'web/app/**/*.test.ts', '*.test.ts'],
          setupFiles: ['test/setup/inputs.ts'],
          // Sealing a key is made to be slow.
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'across',
          include: ['test/**/*.test.ts'],
          globalSetup: ['test/setup/packages.ts'],
          fileParallelism: false,
          // After the unit tests: packets in flight are no company for a full machine.
          sequence: { groupOrder: 1 },
          testTimeout: 120_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
})
