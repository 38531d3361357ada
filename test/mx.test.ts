/** mx: properties and golden values. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mx } from '../ts/cpu/mx.js';

test('doubling twice is multiplying by four', () => {
  fc.assert(
    fc.property(fc.float32Array({ noNaN: true }), (x) => {
      const shape = { rows: 1, n: x.length };
      expect(mx(mx(x, { ...shape, factor: 2 }), { ...shape, factor: 2 })).toEqual(mx(x, { ...shape, factor: 4 }));
    }),
  );
});
