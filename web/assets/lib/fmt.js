// Numbers and times as people read them.
export const plural = (n, one, many = one + 's') => `${n.toLocaleString('en')} ${n === 1 ? one : many}`

export function ms(v) {
  if (!(v > 0)) return '–'
  return v < 1 ? `${v.toFixed(2)} ms` : v < 10 ? `${v.toFixed(1)} ms` : `${Math.round(v).toLocaleString('en')} ms`
}

export const percent = share => share > 0 && share < 0.001 ? '< 0.1 %' : `${+(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`

// span of seconds, in its largest unit.
export function span(s) {
  if (s < 1) return 'less than a second'
  for (const [unit, size] of [['day', 86400], ['hour', 3600], ['minute', 60]]) {
    if (s >= size) return plural(Math.floor(s / size), unit)
  }
  return plural(Math.round(s), 'second')
}

// since says how long ago a time was, of RFC 3339; '' for none.
export function since(text, now = Date.now()) {
  const t = Date.parse(text ?? '')
  return Number.isNaN(t) || t <= 0 ? '' : `${span(Math.max(0, (now - t) / 1000))} ago`
}

// clock is the time of day where the reader is, of milliseconds; of another day with its date.
export function clock(t, now = Date.now()) {
  const at = new Date(t), time = at.toLocaleTimeString('en-GB')
  return at.toDateString() === new Date(now).toDateString() ? time : `${at.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year: 'numeric' })}, ${time}`
}

// hostPort joins an address and a port; IPv6 is put in brackets.
export const hostPort = (host, port) => port ? (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`) : host

// byName puts names in the order in which people count: n2 before n10.
export const byName = new Intl.Collator('en', { numeric: true })
