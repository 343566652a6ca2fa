// Keys: / goes to the search field, g and a letter to a page, ? shows them. They can be
// switched off, for who dictates or whose keys are read otherwise (WCAG 2.1.4).
import { go, path } from './router.js'

const offKey = 'legate.keys.off'
const patience = 1200 // milliseconds between g and its letter

export const shortcuts = [
  ['/', 'Search on this page'],
  ['g f', 'Federation'],
  ['g s', 'Services'],
  ['g n', 'Nodes'],
  ['g k', 'Keys and values'],
  ['g m', 'Servers'],
  ['g l', 'Sessions and locks'],
  ['g d', 'DNS'],
  ['g e', 'Events'],
  ['g q', 'Prepared queries'],
  ['g a', 'Access'],
  ['?', 'Show and switch off these keys'],
]

const pages = { f: '', s: 'services', n: 'nodes', k: 'kv', m: 'servers', l: 'sessions', d: 'dns', e: 'events', q: 'queries', a: 'access' }

export const keysOn = () => localStorage.getItem(offKey) === null
export const setKeys = on => on ? localStorage.removeItem(offKey) : localStorage.setItem(offKey, '1')

// startKeys listens for as long as the page lives; help opens the list.
export function startKeys(help) {
  let g = 0
  document.addEventListener('keydown', e => {
    if (e.key === 'Escape' && e.target.matches?.('[data-search]')) return e.target.blur()
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest?.('input, textarea, select, dialog, [contenteditable]') || !keysOn()) return
    const after = performance.now() - g < patience
    g = 0
    if (after && e.key in pages) return go(pages[e.key] ? path(pages[e.key]) : path())
    switch (e.key) {
      case '/': {
        const field = document.querySelector('[data-search]')
        if (field) { e.preventDefault(); field.focus(); field.select() }
        return
      }
      case 'g': g = performance.now(); return
      case '?': e.preventDefault(); help()
    }
  })
}
