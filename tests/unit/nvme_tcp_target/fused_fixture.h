// SPDX-License-Identifier: Apache-2.0
// What the tests of fused Compare and Write share: pairs, and how they ended.
#pragma once

#include <array>
#include <vector>

#include "tests/unit/nvme_tcp_target/reservation_fixture.h"

namespace remora::test {

constexpr std::uint8_t kFirst = spec::kFlagsSgl | spec::kFuseFirst;
constexpr std::uint8_t kSecond = spec::kFlagsSgl | spec::kFuseSecond;

struct FusedPair {
    spec::Command compare;
    spec::Command write;
    std::vector<std::byte> expected;
    std::vector<std::byte> replacement;
};

/// How both ended; FFFFh: not, since the connection did.
struct PairOutcome {
    std::uint16_t compare = 0xffff;
    std::uint16_t write = 0xffff;
    std::uint16_t other = 0xffff;  ///< Of a command that is neither.
    std::size_t r2ts = 0;

    [[nodiscard]] StatusCode compare_code() const { return spec::status_code(compare); }
    [[nodiscard]] StatusCode write_code() const { return spec::status_code(write); }
};

/// Compares the blocks at `lba` with `expected` and replaces them.
inline FusedPair make_pair(std::uint64_t lba,
                           std::vector<std::byte> expected,
                           std::vector<std::byte> replacement,
                           bool in_capsule = true) {
    const auto blocks = static_cast<std::uint32_t>(expected.size() / 512);
    FusedPair pair;
    pair.compare = make_rw(IoOpcode::Compare, lba, blocks, in_capsule);
    pair.compare.flags = kFirst;
    pair.compare.cid = 0x6000;
    pair.write = make_rw(IoOpcode::Write, lba, blocks, in_capsule);
    pair.write.flags = kSecond;
    pair.write.cid = 0x6001;
    pair.expected = std::move(expected);
    pair.replacement = std::move(replacement);
    return pair;
}

inline void send_command(RawHost& io,
                         const spec::Command& command,
                         std::span<const std::byte> data = {}) {
    const bool in_capsule = command.sgl.identifier == spec::kSglInCapsule;
    io.send(io.capsule(command, in_capsule ? data : std::span<const std::byte>()));
}
inline void send_pair(RawHost& io, const FusedPair& pair) {
    send_command(io, pair.compare, pair.expected);
    send_command(io, pair.write, pair.replacement);
}

/// Serves the R2Ts of both until both, or so many commands, have ended.
inline Task<PairOutcome> finish_pair(RawHost& io, const FusedPair& pair, int ends = 2) {
    PairOutcome outcome;
    while (ends > 0) {
        const auto pdu = co_await io.next();
        if (!pdu) {
            break;
        }
        if (pdu->type() == tcp::PduType::R2t) {
            const auto r2t = pdu->as<tcp::R2t>();
            ++outcome.r2ts;
            const auto& data = r2t.cccid == pair.compare.cid ? pair.expected : pair.replacement;
            io.send(io.h2c_data(r2t.cccid, r2t.ttag, r2t.r2to, data, true));
            continue;
        }
        const auto completion = pdu->as<tcp::CapsuleResp>().completion;
        if (completion.cid == pair.compare.cid) {
            outcome.compare = completion.status();
        } else if (completion.cid == pair.write.cid) {
            outcome.write = completion.status();
        } else {
            outcome.other = completion.status();
        }
        --ends;
    }
    co_return outcome;
}

inline Task<PairOutcome> swap(RawHost& io, FusedPair pair) {
    send_pair(io, pair);
    co_return co_await finish_pair(io, pair);
}

inline std::vector<std::byte> block_of(std::uint64_t value) {
    std::vector<std::byte> block(512);
    std::memcpy(block.data(), &value, sizeof(value));
    return block;
}

}  // namespace remora::test
