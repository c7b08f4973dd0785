#pragma once
// How many cores LibTorch uses. A compute thread (sampler, trainer) calls SetComputeThreads once when it
// starts; the number then holds for every parallel region that this thread opens. Products are only
// reproducible bit for bit with the same numbers.

namespace volery::tensor {

// Cores for LibTorch's loops and matrix products called from the calling thread. Needs count >= 1 (checked).
void SetComputeThreads(int count);
// The number in force on the calling thread.
int ComputeThreads();
// Idle OpenMP teams sleep instead of spinning. Sets OMP_WAIT_POLICY=passive for the process unless the
// environment has it; only counts before libgomp is loaded, so the program's main re-executes itself when
// this returns true (that is: when the variable was absent and has just been set). Main thread, before any
// other thread exists.
bool SetPassiveWaiting();

}  // namespace volery::tensor
