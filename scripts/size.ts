/** What an import costs: each public CPU and GPU file, or names from it, bundled alone, minified, gzipped. */
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { familyOf, root, stems } from './house.js';

export interface Size {
  /** `cpu/topk.js` */
  path: string;
  minified: number;
  gzip: number;
  text: string;
}

export async function bundleOf(path: string, names = '*'): Promise<Size> {
  const { outputFiles } = await build({
    stdin: { contents: `export ${names} from 'lanewise/${path}';`, resolveDir: root },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    write: false,
    logLevel: 'silent',
  });
  const { contents, text } = outputFiles[0]!;
  return { path, minified: contents.length, gzip: gzipSync(contents, { level: 9 }).length, text };
}

export const sizes = (): Promise<Size[]> =>
  Promise.all(
    ['cpu', 'gpu'].flatMap((layer) =>
      stems(`ts/${layer}`, '.ts')
        .filter((s) => s === familyOf(s) && s !== 'runtime')
        .map((stem) => bundleOf(`${layer}/${stem}.js`)),
    ),
  );
