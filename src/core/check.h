// SPDX-License-Identifier: Apache-2.0
// CHECK and DCHECK: assertions on the programmer, never on a peer or a guest.
//
// CHECK is always on and ends the process: a broken invariant in a block store must not go on
// writing. DCHECK is for checks too costly for release builds. What a guest, peer or client sends
// is never CHECKed: it becomes a status and a counter.
#pragma once

namespace remora::core {

/// Prints where and what failed, then aborts. Any thread.
[[noreturn]] void check_failed(const char* file, int line, const char* expression) noexcept;

}  // namespace remora::core

#define REMORA_CHECK(expression)                        \
    (__builtin_expect(static_cast<bool>(expression), 1) \
         ? static_cast<void>(0)                         \
         : ::remora::core::check_failed(__FILE__, __LINE__, #expression))

#define CHECK(expression) REMORA_CHECK(expression)

#ifdef NDEBUG
#define DCHECK(expression) static_cast<void>(sizeof((expression) ? 1 : 0))
#else
#define DCHECK(expression) REMORA_CHECK(expression)
#endif
