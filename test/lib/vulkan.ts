/** Gives a machine without a GPU a Vulkan driver: the SwiftShader that npm's @sparticuz/chromium carries. */
import { createReadStream, existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createBrotliDecompress } from 'node:zlib';
import { extract } from 'tar-fs';

/** Unpacks a `*.tar.br` of @sparticuz/chromium once per version; answers with the folder. */
export async function unpack(name: string): Promise<string> {
  const [package_] = createRequire(import.meta.url)
    .resolve('@sparticuz/chromium')
    .match(/.*@sparticuz\/chromium\//)!;
  const { version } = JSON.parse(readFileSync(join(package_, 'package.json'), 'utf8')) as { version: string };
  const folder = join(tmpdir(), `lanewise-${version}`, name);
  if (!existsSync(folder)) {
    // Two processes may unpack at once: each into a folder of its own, the first rename wins.
    const own = `${folder}.${process.pid}`;
    mkdirSync(own, { recursive: true });
    await pipeline(createReadStream(join(package_, `bin/${name}.tar.br`)), createBrotliDecompress(), extract(own));
    try {
      renameSync(own, folder);
    } catch {}
  }
  return folder;
}

/**
 * Environment in which Dawn sees SwiftShader beside whatever drivers the system has. It has to be there when the
 * process starts (the loader is found through LD_LIBRARY_PATH). A driver chosen by VK_DRIVER_FILES is left alone.
 */
export async function vulkanEnvironment(): Promise<Record<string, string>> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return {};
  if (process.env.VK_DRIVER_FILES || process.env.VK_ICD_FILENAMES) return {};
  const folder = await unpack('swiftshader');
  // The system's own loader, if there is one, is newer than ours: look there first.
  const libraries = [process.env.LD_LIBRARY_PATH, '/usr/lib/x86_64-linux-gnu', '/usr/local/lib', folder]
    .filter(Boolean)
    .join(':');
  return { VK_ADD_DRIVER_FILES: join(folder, 'vk_swiftshader_icd.json'), LD_LIBRARY_PATH: libraries };
}
