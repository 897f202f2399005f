import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    projects: [
      { test: { name: 'unit', include: ['{certs,provisioning,gateway}/src/**/*.test.ts', '*.test.ts'] } },
      {
        test: {
          name: 'across',
          include: ['test/**/*.test.ts'],
          globalSetup: ['test/setup/packages.ts'],
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
})
