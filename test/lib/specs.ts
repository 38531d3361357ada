/** Every kernel's spec by the kernel's name. */
import { specs } from '../generated/registry.js';
import type { FamilySpec } from './spec.js';

export const allSpecs: FamilySpec = Object.assign(
  {},
  ...Object.values(specs as Record<string, { default: FamilySpec }>).map((file) => file.default),
);
