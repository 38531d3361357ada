import { defineConfig } from 'vitest/config';
import { vulkanEnvironment } from './test/lib/vulkan.js';

// Dawn finds its Vulkan driver through the environment a process starts with: set it before vitest forks.
Object.assign(process.env, await vulkanEnvironment());

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    // .ci/run reads the counts from here.
    reporters: process.env.LANEWISE_REPORT
      ? ['default', ['json', { outputFile: process.env.LANEWISE_REPORT }]]
      : ['default'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
