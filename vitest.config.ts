import { defineConfig } from 'vitest/config';

/**
 * Two projects. `unit` needs nothing but Node.js and runs on all processors. `integration` (*.int.test.ts) starts real
 * libvirtd, QEMU, etcd and kube-apiserver processes, as root, two files at a time: each file's processes are in
 * namespaces and folders of its own, and most of what it does is waiting for guests to boot.
 */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.int.test.ts'],
          maxWorkers: '100%',
          sequence: { groupOrder: 0 },
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/**/*.int.test.ts'],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
    reporters: ['default', ['json', { outputFile: 'node_modules/.cache/test-report.json' }]],
  },
});
