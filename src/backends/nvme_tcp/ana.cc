// SPDX-License-Identifier: Apache-2.0
#include "backends/nvme_tcp/ana.h"

#include <algorithm>
#include <string>

#include "core/byte_reader.h"

namespace remora::backends::nvme_tcp {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

/// Of a descriptor; nothing for a value that is reserved.
std::optional<AnaState> state_of(std::uint8_t wire) {
    const auto state = static_cast<AnaState>(wire & 0xfU);
    switch (state) {
        case AnaState::Optimized:
        case AnaState::NonOptimized:
        case AnaState::Inaccessible:
        case AnaState::PersistentLoss:
        case AnaState::Change:
            return state;
    }
    return std::nullopt;
}

std::unexpected<core::Error> wrong(const std::string& what) {
    return fail(ErrorKind::Unavailable, "its ANA log page " + what);
}

}  // namespace

/// As long as the log should be without lists; behind that, piece by piece.
std::optional<AnaLogReader::Piece> AnaLogReader::next() const {
    if (whole_) {
        return std::nullopt;
    }
    const std::size_t expected =
        sizeof(AnaLogHeader) + std::min<std::size_t>(facts_.groups, kMaxBytes / 32) * 32;
    const std::size_t left = bytes_.size() < expected ? expected - bytes_.size() : kPieceBytes;
    return Piece{bytes_.size(), std::min(left, kPieceBytes)};
}

Result<void> AnaLogReader::add(std::span<const std::byte> piece) {
    if (piece.empty() || bytes_.size() + piece.size() > kMaxBytes) {
        return wrong("is longer than " + std::to_string(kMaxBytes) + " bytes");
    }
    bytes_.insert(bytes_.end(), piece.begin(), piece.end());
    return parse();
}

/// From its beginning; whole when every group that it announces is there.
Result<void> AnaLogReader::parse() {
    core::ByteReader reader(bytes_);
    AnaLogHeader header;
    if (!reader.read(header)) {
        return {};
    }
    if (header.groups > facts_.groups) {
        return wrong("has " + std::to_string(header.groups) + " groups, and the controller " +
                     std::to_string(facts_.groups));
    }
    states_.clear();
    change_count_ = header.change_count;
    for (std::uint32_t i = 0; i < header.groups; ++i) {
        AnaGroupDescriptor group;
        if (!reader.read(group)) {
            return {};
        }
        const auto state = state_of(group.state);
        if (group.group == 0 || group.group > facts_.group_max || !state) {
            return wrong("has a group " + std::to_string(group.group) + " in the state " +
                         std::to_string(group.state & 0xfU) + ", which cannot be");
        }
        if (!states_.emplace(group.group, *state).second) {
            return wrong("has the group " + std::to_string(group.group) + " twice");
        }
        // A controller that does not know "groups only" sends the lists; they are passed over.
        const std::uint64_t list = std::uint64_t{group.namespaces} * sizeof(core::le32);
        if (list > kMaxBytes) {
            return wrong("has a group of " + std::to_string(group.namespaces) + " namespaces");
        }
        std::span<const std::byte> skipped;
        if (!reader.take(static_cast<std::size_t>(list), skipped)) {
            return {};
        }
    }
    whole_ = true;
    return {};
}

}  // namespace remora::backends::nvme_tcp
