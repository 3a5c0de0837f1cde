// SPDX-License-Identifier: Apache-2.0
// VolumeModel: what a block of a volume may read as, given what was asked of it and when.
//
// Each change of a block has a beginning, an end (or none yet), and may be known to be durable. A
// read may see whatever was not over and replaced before the read began. A crash may leave
// whatever was not over before something durable began: the last that was flushed, or anything
// newer, or anything that was under way. What failed is like what was under way.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/prng.h"

namespace remora::services::integrity {

class VolumeModel {
  public:
    static constexpr std::uint64_t kOpen = std::numeric_limits<std::uint64_t>::max();

    explicit VolumeModel(std::uint64_t blocks) : blocks_(blocks) {
        for (auto& changes : blocks_) {
            changes.push_back({.end = 0, .done = true, .durable = true});
        }
    }

    std::uint64_t tick() { return ++now_; }
    /// Version 0 is zeros. Returns when it began, by which it is known.
    std::uint64_t begin(std::uint64_t lba, std::uint32_t count, bool zeros) {
        const std::uint64_t start = tick();
        for (std::uint32_t i = 0; i < count; ++i) {
            blocks_[lba + i].push_back({.start = start, .version = zeros ? 0 : start});
        }
        return start;
    }
    void end(std::uint64_t lba, std::uint32_t count, std::uint64_t start, bool durable) {
        const std::uint64_t now = tick();
        for (std::uint32_t i = 0; i < count; ++i) {
            for (Change& change : blocks_[lba + i]) {
                if (change.start == start) {
                    change.end = now;
                    change.done = true;
                    change.durable |= durable;
                }
            }
        }
    }
    /// A flush that began then has succeeded.
    void flushed(std::uint64_t start) {
        for (auto& changes : blocks_) {
            for (Change& change : changes) {
                change.durable |= change.done && change.end < start;
            }
        }
    }
    /// All that was not durable may or may not be there, and is over.
    void crash() {
        const std::uint64_t now = tick();
        for (auto& changes : blocks_) {
            for (Change& change : changes) {
                change.end = std::min(change.end, now);
                change.done = change.durable;
            }
        }
    }

    /// Whether a read from `start` until now may see the version.
    [[nodiscard]] bool may_read(std::uint64_t lba,
                                std::uint64_t version,
                                std::uint64_t start) const {
        return may_see(lba, version,
                       [start](const Change& by) { return by.done && by.end < start; });
    }
    [[nodiscard]] bool may_survive(std::uint64_t lba, std::uint64_t version) const {
        return may_see(lba, version, [](const Change& by) { return by.durable; });
    }
    /// Nothing was under way, and this is it.
    void observe(std::uint64_t lba, std::uint64_t version) {
        blocks_[lba] = {
            {.start = version, .end = tick(), .version = version, .done = true, .durable = true}};
    }

    /// For a failure's message: "version: start..end" of each change, with a ! where it is durable.
    [[nodiscard]] std::string history(std::uint64_t lba) const {
        std::string text;
        for (const Change& change : blocks_[lba]) {
            text += " " + std::to_string(change.version) + ":" + std::to_string(change.start) +
                    ".." + (change.end == kOpen ? "" : std::to_string(change.end)) +
                    (change.durable ? "!" : "");
        }
        return text;
    }

    static void fill(std::span<std::byte> bytes, std::uint64_t lba, std::uint64_t version) {
        if (version == 0) {
            std::memset(bytes.data(), 0, bytes.size());
            return;
        }
        core::Prng prng(lba * 1'000'003 + version);
        std::memcpy(bytes.data(), &version, sizeof(version));
        for (std::size_t at = 8; at < bytes.size(); at += 8) {
            const std::uint64_t word = prng.next();
            std::memcpy(bytes.data() + at, &word, sizeof(word));
        }
    }
    /// Nothing for bytes that nobody has written there.
    static std::optional<std::uint64_t> version_of(std::span<const std::byte> bytes,
                                                   std::uint64_t lba) {
        std::uint64_t version = 0;
        std::memcpy(&version, bytes.data(), sizeof(version));
        std::vector<std::byte> wanted(bytes.size());
        fill(wanted, lba, version);
        const bool same = std::memcmp(bytes.data(), wanted.data(), bytes.size()) == 0;
        return same ? std::optional(version) : std::nullopt;
    }

  private:
    struct Change {
        std::uint64_t start = 0;
        std::uint64_t end = kOpen;
        std::uint64_t version = 0;
        bool done = false;  ///< It has ended well, and no crash has made that uncertain.
        bool durable = false;
    };

    template <typename F>
    [[nodiscard]] bool may_see(std::uint64_t lba, std::uint64_t version, F counts) const {
        const auto& changes = blocks_[lba];
        return std::ranges::any_of(changes, [&](const Change& change) {
            return change.version == version &&
                   std::ranges::none_of(changes, [&](const Change& by) {
                       return by.start > change.end && counts(by);
                   });
        });
    }

    std::uint64_t now_ = 0;
    std::vector<std::vector<Change>> blocks_;
};

}  // namespace remora::services::integrity
