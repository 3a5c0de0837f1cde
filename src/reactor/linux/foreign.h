// SPDX-License-Identifier: Apache-2.0
// Descriptors and memory that a peer has sent, which may be of any kind: what they are, and how to
// let go of them without waiting for the peer. Any thread; callers own their descriptors.
#pragma once

#include <cstddef>

#include "core/result.h"

namespace remora::reactor {

/// Without /proc nobody can tell: then true.
bool is_eventfd(int fd);

/// Whether it is a file whose pages are there without asking anybody: on tmpfs (a memfd is),
/// hugetlbfs, ext4 or xfs. A page of another one, FUSE say, may be as long in coming as the peer
/// likes. Errors: InvalidArgument, with what it is instead.
core::Result<void> check_is_memory(int fd);

/// Closes it, on a thread of its own if that may wait: a file of FUSE is flushed to its owner, a
/// socket may linger. With kMostAside such threads under way it stays open for good.
void close_foreign(int fd);

/// Unmaps it, on a thread of its own if that takes long: a guest's memory may be hundreds of GiB.
void unmap_foreign(void* base, std::size_t bytes);

constexpr int kMostAside = 64;

}  // namespace remora::reactor
