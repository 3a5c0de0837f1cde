// SPDX-License-Identifier: Apache-2.0
// CrashBlock: what a block of a device may read as, and what a power cut may leave of it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/crashing_device.h"

namespace remora::test {

using Token = std::uint64_t;  // stands for a block's content

inline Token token_of(const std::byte* bytes) {
    Token hash = 0xcbf29ce484222325ULL;
    for (std::size_t i = 0; i < kCrashBlock; i += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes + i, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
        hash ^= hash >> 29U;
    }
    return hash;
}

inline void fill(std::byte* bytes, std::uint64_t seed) {
    for (std::size_t i = 0; i < kCrashBlock; i += 8) {
        seed = seed * 0x5851f42d4c957f2dULL + 0x14057b7ef767814fULL;
        const std::uint64_t word = seed ^ (seed >> 31U);
        std::memcpy(bytes + i, &word, 8);
    }
}

/// What one block may read as. Moments are counted, not timed.
class CrashBlock {
  public:
    static constexpr std::uint64_t kOpen = ~0ULL;

    void begin(Token token, std::uint64_t now) { versions_.push_back({token, now}); }
    void end(Token token, std::uint64_t began, std::uint64_t now, bool good, bool durable) {
        for (Version& version : versions_) {
            if (version.token == token && version.began == began && version.ended == kOpen) {
                version.ended = now;
                version.good = good;
                version.durable = good && durable;
            }
        }
    }
    /// A flush that began at `began` has ended well.
    void flushed(std::uint64_t began) {
        for (Version& version : versions_) {
            version.durable = version.durable || (version.good && version.ended < began);
        }
    }
    /// Whether a read from `began` to `now` may have seen `token`.
    [[nodiscard]] bool may_read(Token token, std::uint64_t began, std::uint64_t now) const {
        return std::ranges::any_of(versions_, [&](const Version& version) {
            return version.token == token && !version.ghost && version.began <= now &&
                   !is_replaced(version, began, false);
        });
    }
    [[nodiscard]] std::string tell(Token token) const {
        std::string text = "reads " + std::to_string(token) + " of";
        for (const Version& version : versions_) {
            text += "\n  " + std::to_string(version.token) + " [" + std::to_string(version.began) +
                    ", " + std::to_string(version.ended) + "]" + (version.good ? "" : " failed") +
                    (version.durable ? " durable" : "") + (version.ghost ? " ghost" : "");
        }
        return text;
    }
    /// After a power cut it reads as `token`; false when it may not.
    bool cut(Token token, std::uint64_t now) {
        std::vector<Version> left;
        bool found = false;
        for (Version version : versions_) {
            if (is_replaced(version, kOpen, true)) {
                continue;
            }
            found = found || version.token == token;
            if (version.token != token) {
                version.ghost = true;  // until a flush, another cut may bring it back
                version.ended = std::min(version.ended, now);
                version.good = version.durable = false;
                left.push_back(version);
            }
        }
        left.push_back({.token = token, .began = now + 1, .ended = now + 1, .good = true});
        versions_ = std::move(left);
        return found;
    }

  private:
    struct Version {
        Token token = 0;
        std::uint64_t began = 0;
        std::uint64_t ended = kOpen;
        bool good = false;
        bool durable = false;
        bool ghost = false;
    };
    /// Whether another was written wholly after it, and before `moment`.
    [[nodiscard]] bool is_replaced(const Version& old, std::uint64_t moment, bool durably) const {
        return std::ranges::any_of(versions_, [&](const Version& by) {
            return by.good && (by.durable || !durably) && by.ended < moment && old.ended < by.began;
        });
    }
    std::vector<Version> versions_;
};

}  // namespace remora::test
