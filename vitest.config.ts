import { defineConfig } from 'vitest/config'

/** A machine may be slow, and a test waits no longer than it has to. */
const expect = { poll: { timeout: 20_000 } }

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          expect,
          include: ['{certs,provisioning,gateway}/src/**/*.test.ts', 'web/app/**/*.test.ts', '*.test.ts'],
          setupFiles: ['test/setup/inputs.ts'],
          // Sealing a key is made to be slow.
          testTimeout: 30_000,
        },
      },
      {
        test: {
          // The same tests of the stores, on the other database.
          name: 'postgres',
          expect,
          include: [
            'provisioning/src/registry/*.test.ts',
            'gateway/src/ledger/ledger.test.ts',
            'gateway/src/conversations/conversations.test.ts',
            'gateway/src/api/{conversations,fuzz,rooms}.test.ts',
            'gateway/src/api/{account,admin}/*.test.ts',
            'gateway/src/rooms/*.test.ts',
          ],
          globalSetup: ['test/setup/postgres.ts'],
          setupFiles: ['test/setup/on-postgres.ts'],
          sequence: { groupOrder: 1 },
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'across',
          expect,
          include: ['test/**/*.test.ts'],
          globalSetup: ['test/setup/packages.ts'],
          fileParallelism: false,
          // After the unit tests: packets in flight are no company for a full machine.
          sequence: { groupOrder: 2 },
          testTimeout: 120_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
})
