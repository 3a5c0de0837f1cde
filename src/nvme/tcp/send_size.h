// SPDX-License-Identifier: Apache-2.0
// How much either end gathers for one send (docs/PERFORMANCE.md, "Where the time goes").
#pragma once

#include <cstddef>

namespace remora::nvme::tcp {

// More does not get cheaper: the peer could have begun.
inline constexpr std::size_t kPdusPerSend = 64;
/// The kernel pushes each send's last bytes out by themselves, and sets a timer for them where it
/// paces (bbr): of 256 KiB, large payloads made three quarters of the rate. With 1 MiB, a depth
/// that is less than that goes back and forth in lockstep.
inline constexpr std::size_t kBytesPerSend = std::size_t{512} * 1024;

}  // namespace remora::nvme::tcp
