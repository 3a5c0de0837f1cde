// SPDX-License-Identifier: Apache-2.0
// ZeroedMemory: a run of zeros, which the system gives pages for as they are touched.
//
// From 2 MiB on it asks for huge pages: who reads at random from memory of ordinary ones waits for
// a walk through the page tables, twice as deep in a virtual machine, at nearly every block. The
// price is that what is touched takes 2 MiB where it took 4 KiB.
#pragma once

#include <cstddef>
#include <memory>

namespace remora::memory {

struct ReleaseZeroed {
    std::byte* origin = nullptr;  ///< What malloc gave; the bytes begin there or behind it.
    void operator()(std::byte* memory) const;
};

/// Owns its bytes; any thread.
using ZeroedMemory = std::unique_ptr<std::byte, ReleaseZeroed>;

/// `bytes` of them, at least one, on the boundary of a huge page if it asks for such. Null when
/// there is no memory for them.
ZeroedMemory allocate_zeroed(std::size_t bytes);

}  // namespace remora::memory
