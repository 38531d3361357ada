/** Sizes from arrays' shapes, by the shapes that a spec states: `[rows, n]`, `[a] or [b]`, `[a]; column: [b]`, `as scales`. */

type Sizes = Record<string, number>;

interface Shaped {
  name: string;
  shape: number[];
}

/** The lists of dimensions an array may have. */
function alternatives(texts: Readonly<Record<string, string>>, name: string): string[][] {
  const text = texts[name] ?? '';
  const lists = [...text.matchAll(/\[([^\]]*)\]/g)].map(([, list]) => list!.split(',').map((item) => item.trim()));
  const like = /^as (\w+)/.exec(text)?.[1];
  return like ? alternatives(texts, like) : lists;
}

/** Dimensions by size: leading axes fold into the first, which is 1 where there is one axis too few. */
function fold(dimensions: string[], shape: number[], known: (size: string) => boolean): Sizes | undefined {
  const leading = shape.length - dimensions.length + 1;
  if (leading < 0) return undefined;
  const folded = [shape.slice(0, leading).reduce((a, b) => a * b, 1), ...shape.slice(leading)];
  return Object.fromEntries(dimensions.map((size, i) => [size, folded[i]!] as const).filter(([size]) => known(size)));
}

/**
 * What a shape may say, the likeliest first: what agrees with what is given; the same with axes of 1 left out; and nothing,
 * where it holds more than sizes, or they are given, or it contradicts them.
 */
function readings(
  texts: Readonly<Record<string, string>>,
  { name, shape }: Shaped,
  known: (size: string) => boolean,
  given: Record<string, unknown>,
) {
  const isGiven = (size: string) => size in given;
  const agreeing = (sizes: Sizes) => Object.keys(sizes).filter((size) => sizes[size] === given[size]).length;
  const lists = alternatives(texts, name);
  const longer = shape.filter((axis) => axis !== 1);
  const found = (longer.length < shape.length ? [shape, longer] : [shape])
    .flatMap((axes) => lists.map((list) => fold(list, axes, known)))
    .filter((sizes): sizes is Sizes => sizes !== undefined)
    .sort((a, b) => agreeing(b) - agreeing(a));
  const silent =
    lists.some((list) => !list.every(known) || list.every(isGiven)) ||
    found.some((sizes) => Object.keys(sizes).some((size) => isGiven(size) && sizes[size] !== given[size]));
  return silent ? [...found, {}] : found;
}

/**
 * Every way to read the shapes together, the likeliest first. Arrays agree on each size, save on those of `given`, which
 * shapes have no say in. Throws what the first way stumbles over where there is none.
 */
export function* sizesOf(
  texts: Readonly<Record<string, string>>,
  arrays: Shaped[],
  known: (size: string) => boolean,
  given: Record<string, unknown>,
): Generator<Sizes> {
  let conflict: string | undefined;
  let found = false;
  const all = arrays
    .map((array) => ({ ...array, readings: readings(texts, array, known, given) }))
    // Those that say the most without a choice come first.
    .sort((a, b) => Number(!b.readings.length) - Number(!a.readings.length) || a.readings.length - b.readings.length);

  function* rest(from: number, sizes: Sizes): Generator<Sizes> {
    if (from === all.length) {
      found = true;
      yield sizes;
      return;
    }
    const { name, shape, readings } = all[from]!;
    const text = `[${shape.join(', ')}]`;
    if (!readings.length) conflict ??= `"${name}" expected shape ${texts[name]}, got ${text}`;
    for (const reading of readings) {
      const free = Object.entries(reading).filter(([size]) => !(size in given));
      const odd = free.find(([size, value]) => sizes[size] !== undefined && sizes[size] !== value);
      if (odd)
        conflict ??= `"${name}" has ${odd[0]} = ${odd[1]} (shape ${text}), but another array has ${odd[0]} = ${sizes[odd[0]]}`;
      else yield* rest(from + 1, { ...sizes, ...Object.fromEntries(free) });
    }
  }
  yield* rest(0, {});
  if (!found) throw new Error(conflict);
}
