package engine

import "github.com/cockroachdb/pebble/v2"

// fillBatch is how many bytes of rows go into one batch of an instance that is filled.
const fillBatch = 1 << 20

// Filling writes rows to an instance that nobody reads yet, a batch at a time. Write or Close
// ends it.
type Filling struct {
	in *Engine
	*pebble.Batch
}

// Fill begins to fill an instance.
func Fill(in *Engine) *Filling { return &Filling{in, in.DB.NewBatch()} }

// Set writes a row.
func (w *Filling) Set(key, row []byte) error {
	if err := w.Batch.Set(key, row, nil); err != nil || w.Len() < fillBatch {
		return err
	}
	full := w.Batch
	w.Batch = w.in.DB.NewBatchWithSize(fillBatch)
	return w.in.Write(full, false)
}

// Write writes what is left.
func (w *Filling) Write() error { return w.in.Write(w.Batch, false) }
