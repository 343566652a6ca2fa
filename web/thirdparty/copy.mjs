// Copies what the page needs of its libraries into ../assets/thirdparty, and notes the
// hashes of what was copied in SHA256SUMS, which a test compares. npm has checked each
// package against the sha512 in package-lock.json before this runs (make vendor-web).
import { createHash } from 'node:crypto'
import { readFileSync, rmSync, mkdirSync, writeFileSync } from 'node:fs'

const here = new URL('.', import.meta.url)
const to = new URL('../assets/thirdparty/', here)
const files = [
  ['preact/dist/preact.mjs', 'preact.js'],
  ['preact/hooks/dist/hooks.mjs', 'hooks.js'],
  ['preact/LICENSE', 'preact.LICENSE.txt'],
  ['htm/dist/htm.mjs', 'htm.js'],
  ['htm/LICENSE', 'htm.LICENSE.txt'],
  ['uplot/dist/uPlot.iife.min.js', 'uplot.js'],
  ['uplot/dist/uPlot.min.css', 'uplot.css'],
  ['uplot/LICENSE', 'uplot.LICENSE.txt'],
]

rmSync(to, { recursive: true, force: true })
mkdirSync(to, { recursive: true })
let sums = ''
for (const [from, name] of files) {
  let text = readFileSync(new URL(`node_modules/${from}`, here), 'utf8')
  // A browser finds no module by a bare name without an import map, which would be a script
  // in the page; and the maps of sources are not shipped.
  text = text.replaceAll('from"preact"', 'from"./preact.js"').replace(/\n?\/\/# sourceMappingURL=.*\s*$/, '\n')
  if (name === 'uplot.js') text = text.replace(/\s*$/, '\nexport default uPlot\n') // it has no small module
  writeFileSync(new URL(name, to), text)
  sums += `${createHash('sha256').update(text).digest('hex')}  ${name}\n`
}
writeFileSync(new URL('SHA256SUMS', to), sums)
