// SPDX-License-Identifier: Apache-2.0
// Probes: where the code talks to the simulator (tests/sim). Without REMORA_PROBES, as in a
// release, they are nothing at all.
//
//   REMORA_COVER("a connect waits for the old host's I/O");   // this rare path was taken
//   if (REMORA_SOMETIMES("the pool has no buffer")) { ... }   // take a rare path, now and then
//   REMORA_GUEST_MOMENT();                                    // a hostile guest may act here
//   REMORA_INVARIANT(heap is in order);                       // checked where probes are, only
//
// Marks are listed by the linker, so that a report can name those which no run has reached. Use
// them in .cc files only.
#pragma once

#ifdef REMORA_PROBES

#include <cstdint>
#include <span>

#include "core/check.h"

namespace remora::core::probe {

struct Mark {
    const char* name;
    const char* file;
    int line;
    bool sometimes;  ///< A place that can be unlucky on purpose, not only one to be counted.
};

/// What a simulation hangs in. All null outside of one. One thread.
struct Hooks {
    void (*covered)(const Mark& mark) = nullptr;
    bool (*unlucky)(const Mark& mark) = nullptr;
    void (*guest_moment)() = nullptr;
};
extern Hooks hooks;

/// Every mark in the program, in the order of the linker.
std::span<const Mark> marks();

inline void cover(const Mark& mark) {
    if (hooks.covered != nullptr) {
        hooks.covered(mark);
    }
}
inline bool sometimes(const Mark& mark) {
    return hooks.unlucky != nullptr && hooks.unlucky(mark);
}

}  // namespace remora::core::probe

#define REMORA_MARK(text, is_sometimes)                                              \
    __attribute__((section("remora_marks"),                                          \
                   used)) static constexpr ::remora::core::probe::Mark remora_mark { \
        text, __FILE__, __LINE__, is_sometimes                                       \
    }

#define REMORA_COVER(text)                         \
    do {                                           \
        REMORA_MARK(text, false);                  \
        ::remora::core::probe::cover(remora_mark); \
    } while (false)

#define REMORA_SOMETIMES(text)                                \
    ([]() -> bool {                                           \
        REMORA_MARK(text, true);                              \
        return ::remora::core::probe::sometimes(remora_mark); \
    }())

#define REMORA_GUEST_MOMENT()                                       \
    do {                                                            \
        if (::remora::core::probe::hooks.guest_moment != nullptr) { \
            ::remora::core::probe::hooks.guest_moment();            \
        }                                                           \
    } while (false)

#define REMORA_INVARIANT(expression) CHECK(expression)

#else

#define REMORA_COVER(text) static_cast<void>(0)
#define REMORA_SOMETIMES(text) false
#define REMORA_GUEST_MOMENT() static_cast<void>(0)
#define REMORA_INVARIANT(expression) static_cast<void>(sizeof((expression) ? 1 : 0))

#endif
