import { defineConfig } from 'vitest/config';
import { vulkanEnvironment } from './test/lib/vulkan.js';

// Dawn finds its Vulkan driver through the environment a process starts with: set it before vitest forks.
Object.assign(process.env, await vulkanEnvironment());

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
