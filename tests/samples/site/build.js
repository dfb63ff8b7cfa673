// Builds the site: scripts and styles with a hash in their names, and the pages that name them.
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';

const { outputFiles } = await build({
  entryPoints: ['src/app.js', 'src/app.css'],
  outdir: 'dist/static',
  bundle: true,
  minify: true,
  write: false,
});
await mkdir('dist/static', { recursive: true });
let page = await readFile('src/index.html', 'utf8');
const manifest = {};
for (const { path, contents } of outputFiles) {
  const name = basename(path);
  const hash = createHash('sha256').update(contents).digest('hex').slice(0, 16);
  manifest[name] = `static/${name.replace('.', `.${hash}.`)}`;
  await writeFile(`dist/${manifest[name]}`, contents);
  page = page.replace(`{${name}}`, `/${manifest[name]}`);
}
await writeFile('dist/asset-manifest.json', JSON.stringify(manifest, null, 2));
await writeFile('dist/index.html', page);
