// Values of keys: bytes that are text or not.

// decode makes bytes of base64; null is an empty value.
export function decode(base64) {
  const letters = atob(base64 ?? ''), bytes = new Uint8Array(letters.length)
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i)
  return bytes
}

// beginning is the part of a text that is drawn before somebody asks for all of it: whole lines if
// they are short enough, and never half a character.
export function beginning(text, most) {
  if (text.length <= most) return text
  const line = text.lastIndexOf('\n', most) + 1
  if (line > most / 2) return text.slice(0, line)
  const half = text.charCodeAt(most - 1) >> 10 === 0b110110
  return text.slice(0, half ? most - 1 : most)
}

// textOf returns bytes as text, undefined if they are none: no UTF-8, or with characters that a
// text field would change or hide.
export function textOf(bytes) {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    return /[\x00-\x08\x0b-\x1f\x7f]/.test(text) ? undefined : text // \r as well: a field would make \n of it
  } catch { return undefined }
}

const perLine = 16

// hexOf shows at most so many bytes as people read them: place, hexadecimal, letters.
export function hexOf(bytes, most = 4096) {
  const lines = []
  for (let at = 0; at < Math.min(bytes.length, most); at += perLine) {
    const part = [...bytes.slice(at, Math.min(at + perLine, most))]
    const hex = part.map(b => b.toString(16).padStart(2, '0')).join(' '), letters = part.map(b => b >= 32 && b < 127 ? String.fromCharCode(b) : '.')
    lines.push(`${at.toString(16).padStart(6, '0')}  ${hex.padEnd(perLine * 3)} ${letters.join('')}`)
  }
  return lines.join('\n')
}
