// What an answer of DNS comes to, in words.
import { plural, span } from './fmt.js'

export const types = ['A', 'AAAA', 'SRV', 'TXT', 'ANY', 'PTR', 'SOA', 'NS']

const things = { A: 'IPv4 address', AAAA: 'IPv6 address', SRV: 'place', TXT: 'text', PTR: 'name', NS: 'name server' }
const many = { A: 'IPv4 addresses', AAAA: 'IPv6 addresses' }

// verdict says of an explanation how it came out: a state, a sentence, and the code of DNS for it.
export function verdict(e) {
  const found = e.Answer.filter(r => r.Type === e.Type).length, n = found || e.Answer.length
  const thing = found && things[e.Type] || 'record'
  switch (true) {
    case n > 0 && e.Code === 'NOERROR': return { state: 'good', text: plural(n, thing, found && many[e.Type] || thing + 's'), code: e.Code }
    case e.Code === 'NOERROR': return { state: 'unknown', text: `No record of the type ${e.Type}`, code: e.Code }
    case e.Code === 'NXDOMAIN': return { state: 'warn', text: 'Nothing is answered', code: e.Code }
    case e.Code === 'SERVFAIL': return { state: 'bad', text: 'It cannot be said now', code: e.Code }
    case e.Code === 'REFUSED': return { state: 'warn', text: 'This agent does not answer for it', code: e.Code }
    case e.Code === '': return { state: 'unknown', text: 'Recursors are asked for it' }
  }
  return { state: 'bad', text: 'It is not answered', code: e.Code }
}

// places says which datacenters answered, and how old that is.
export function places(e) {
  const who = e.Datacenters.length ? `answered by ${e.Datacenters.join(', ')}` : ''
  return [who, e.Age > 0 && `as it was ${span(e.Age)} ago`].filter(Boolean).join(', ')
}

// ttl is how long a record may be kept.
export const ttl = seconds => `${seconds.toLocaleString('en')} s`
