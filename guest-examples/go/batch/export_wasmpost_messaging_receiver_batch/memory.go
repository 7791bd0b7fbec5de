package export_wasmpost_messaging_receiver_batch

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	lent "go.bytecodealliance.org/pkg/wit/runtime"
)

// collectAfter is how many bytes may be allocated between two collections.
const collectAfter = 4 << 20

var (
	allocated = []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	collected uint64
)

// The collector must not start by itself: it reads the clock, and the host traps a guest that calls it while it is
// asked for memory. So it runs between messages.
func init() {
	debug.SetGCPercent(-1)
}

// releaseMemory gives back what the host wrote its answers to, and collects if much was allocated.
func releaseMemory() {
	lent.Unpin()
	metrics.Read(allocated)
	if total := allocated[0].Value.Uint64(); total-collected > collectAfter {
		collected = total
		runtime.GC()
	}
}
