// SPDX-License-Identifier: Apache-2.0
// Descriptors and memory that a peer has sent, which may be of any kind: what they are, and how to
// let go of them. Neither waits for the peer, who may serve the file system that a descriptor is
// on. Any thread.
#pragma once

#include <cstddef>

#include "core/result.h"

namespace remora::reactor {

/// Without /proc nobody can tell: then true.
bool is_eventfd(int fd);

/// Whether it is a file whose pages are there without asking anybody: a memfd, on tmpfs or
/// hugetlbfs, or on a disk of this machine. Errors: InvalidArgument.
core::Result<void> check_is_memory(int fd);

/// Whether it has so much memory that to give that up takes long.
bool is_large(int fd);

/// Closes it: at once what ends at once, by one thread for all what takes long, and by threads of
/// their own, kMostClosers at a time, what may wait (a file of FUSE is flushed, a socket lingers).
void close_foreign(int fd);

/// Unmaps it, by one thread for all if that may take long: a guest's memory may be hundreds of GiB.
/// `large`: so is the file that is mapped, which may go with this last part of it.
void unmap_foreign(void* base, std::size_t bytes, bool large);

/// Descriptors that are being closed, or wait for that, because it may take for ever.
std::size_t closes_under_way();

constexpr std::size_t kMostClosers = 64;

}  // namespace remora::reactor
