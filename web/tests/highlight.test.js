import test from 'node:test'
import assert from 'node:assert/strict'
import { highlight, languageOf } from '../assets/lib/highlight.js'
import { cpu } from './cpu.js'

const of = (language, text) => highlight(language, text).filter(([k]) => k && k !== 'sign').map(([k, t]) => `${k} ${t}`)

test('a language is recognised by the ending of a name, or by how the text looks', () => {
  for (const [name, text, want] of [
    ['a.json', 'x', 'json'], ['a.YML', '', 'yaml'], ['main.tf', '', 'hcl'], ['a', '{"a": 1}', 'json'], ['a', '[\n  1]', 'json'], ['a', '{"a": 1', 'json'],
    ['a', 'name: web\nport: 80\n', 'yaml'], ['a', '---\n- a\n- b', 'yaml'], ['a', 'name = "web"\nport = 80', 'hcl'], ['a', 'service "web" {\n  port = 80\n}', 'hcl'],
    ['a', 'hello', ''], ['a', '', ''], ['a', 'http://x.example', ''], ['a', 'See: this is a sentence.\nAnd more of it\nand more\nand more', ''], ['a', '[main]\nkey=value', ''], ['a.txt', 'a b c', ''],
  ]) assert.equal(languageOf(name, text), want, JSON.stringify([name, text]))
})

test('each part has its kind', () => {
  assert.deepEqual(of('json', '{"a": "b:", "n": -1.5e3, "t": true, "x": [null]}'),
    ['key "a"', 'string "b:"', 'key "n"', 'number -1.5e3', 'key "t"', 'word true', 'key "x"', 'word null'])
  assert.deepEqual(of('hcl', 'a = "x" # c\nservice "web" {\n  n = 1 // d\n}\n/* e\nf */ b = <<EOT\ntext\nEOT\nc = true'),
    ['key a', 'string "x"', 'comment # c', 'key service', 'string "web"', 'key n', 'number 1', 'comment // d', 'comment /* e\nf */', 'key b', 'string <<EOT\ntext\nEOT', 'key c', 'word true'])
  assert.deepEqual(of('yaml', '# c\nname: web:80\n"q": \'it\'\nport: 80 # d\nup: yes\nlist:\n  - a: 1\n  - &x b\ntext: |\n  one: 1\n  two\nnext: [1, x]'),
    ['comment # c', 'key name', 'string web:80', 'key "q"', 'string \'it\'', 'key port', 'number 80', 'comment # d', 'key up', 'word yes', 'key list', 'key a', 'number 1', 'word &x', 'string b',
      'key text', 'string   one: 1\n  two\n', 'key next', 'number 1', 'string x'])
})

test('together the parts are the text, broken or not', () => {
  const texts = ['{"a": [1, "x', 'a: "x\n b', 'a = <<E\nnever', '"\\', '/* never', '- - - x', 'a:\r\n  - b\r\n', '<<', '\'', '#', '|', '\u{1f600}: \u{1f600}', '<script>alert(1)</script>', 'a: |\n\n\n']
  for (const language of ['json', 'yaml', 'hcl', '', 'none']) {
    for (const text of texts) assert.equal(highlight(language, text).map(([, t]) => t).join(''), text, `${language}: ${text}`)
  }
})

test('it takes a short time and bounded nodes, whatever the text is', () => {
  const n = 512 << 10, begin = cpu()
  for (const language of ['json', 'yaml', 'hcl']) {
    for (const unit of ['"', '{"a":1,', '- ', 'a: ', ' ', '\n', '/*', '<<E\n', '<<E ', '\\"', 'a:', '#', '1', '-', 'a', '\'', '|\n', '&', 'a = "', '"a" ']) {
      const text = unit.repeat(n / unit.length), got = highlight(language, text)
      assert.ok(got.length < 30_000, `${language} ${unit}: ${got.length}`)
      assert.ok(got.reduce((sum, [, t]) => sum + t.length, 0) === text.length)
      assert.equal(typeof languageOf('x', text), 'string')
    }
  }
  assert.ok(cpu() - begin < 10_000, `${cpu() - begin} ms`)
})
