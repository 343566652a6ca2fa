// Bytes of others as people read them.
const most = 4096 // bytes that are shown

// payloadOf makes text, or hex where the bytes are none, of base64; { text, hex, size, cut }.
export function payloadOf(base64, asHex = false) {
  if (!base64) return { text: '', hex: false, size: 0, cut: false }
  const all = Uint8Array.from(atob(base64), c => c.charCodeAt(0)), bytes = all.subarray(0, most), cut = all.length > most
  if (!asHex) {
    try {
      const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: cut }) // the last character may be cut, too
      if (!/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(text)) return { text, hex: false, size: all.length, cut }
    } catch { /* no text: hex */ }
  }
  return { text: [...bytes].map(b => b.toString(16).padStart(2, '0')).join(' '), hex: true, size: all.length, cut }
}
