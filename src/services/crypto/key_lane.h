// SPDX-License-Identifier: Apache-2.0
// KeyLane: what the channels of a CryptDevice on one reactor share while its key is changed.
//
//   block 0 ... position ........ held_end .............. last
//          next key    requests wait         the old key
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/intrusive_list.h"
#include "reactor/signal.h"
#include "reactor/task.h"

namespace remora::services::crypto {

class CryptChannel;
class XtsKey;

/// Where which key is, in blocks. Value type.
struct KeySplit {
    static constexpr std::uint64_t kAllBeyond = ~std::uint64_t{0};

    std::uint64_t position = 0;
    std::uint64_t held_end = 0;  ///< At most `position`: nothing is held.
    /// The held range cannot be written: its requests fail instead of waiting.
    bool refused = false;

    [[nodiscard]] bool holds(std::uint64_t lba, std::uint32_t block_count) const {
        return held_end > position && lba < held_end && lba + block_count > position;
    }
};

/// On its reactor.
class KeyLane {
  public:
    KeyLane() = default;
    KeyLane(const KeyLane&) = delete;
    KeyLane& operator=(const KeyLane&) = delete;

    /// A request that has data goes down; what it returns is for left().
    [[nodiscard]] std::uint64_t entered() {
        ++under_way_[parity_];
        return parity_;
    }
    void left(std::uint64_t parity) {
        if (--under_way_[parity] == 0 && parity != parity_) {
            drained_.notify();
        }
    }
    /// Ends when no request of before is under way. One caller at a time.
    reactor::Task<> drain();

    core::List<CryptChannel, CryptChannel> channels;
    const XtsKey* key = nullptr;
    const XtsKey* next = nullptr;  ///< Null: the key is not being changed.
    KeySplit split;

  private:
    std::array<std::size_t, 2> under_way_{};  // by the parity of the drains before them
    std::uint64_t parity_ = 0;
    reactor::Signal drained_;
};

}  // namespace remora::services::crypto
