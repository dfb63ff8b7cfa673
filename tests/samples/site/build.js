// Builds the site: scripts and styles with a hash in their names, and the pages that name them.
import { build } from 'esbuild';
import { mkdir, readFile, writeFile } from 'node:fs/promises';

const { metafile } = await build({
  entryPoints: ['src/app.js', 'src/app.css'],
  outdir: 'dist/static',
  entryNames: '[name].[hash]',
  bundle: true,
  minify: true,
  metafile: true,
});
const names = Object.entries(metafile.outputs).map(([path, { entryPoint }]) => [entryPoint.slice('src/'.length), path.slice('dist/'.length)]);
const manifest = Object.fromEntries(names);
let page = await readFile('src/index.html', 'utf8');
for (const [name, path] of names) page = page.replace(`{${name}}`, `/${path}`);
await mkdir('dist', { recursive: true });
await writeFile('dist/asset-manifest.json', JSON.stringify(manifest, null, 2));
await writeFile('dist/index.html', page);
