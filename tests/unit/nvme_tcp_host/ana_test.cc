// SPDX-License-Identifier: Apache-2.0
// The ANA log page: read in pieces, checked whole, bounded.
#include "backends/nvme_tcp/ana.h"

#include <cstring>

#include <gtest/gtest.h>

#include "core/byte_reader.h"
#include "core/prng.h"

namespace remora::backends::nvme_tcp {
namespace {

struct Group {
    std::uint32_t group = 1;
    std::uint8_t state = 1;
    std::uint32_t namespaces = 0;
};

std::vector<std::byte> log_of(std::uint16_t announced, const std::vector<Group>& groups) {
    AnaLogHeader header;
    header.change_count = 7;
    header.groups = announced;
    std::vector<std::byte> out;
    const auto add = [&out](std::span<const std::byte> bytes) {
        out.insert(out.end(), bytes.begin(), bytes.end());
    };
    add(core::as_bytes_of(header));
    for (const Group& group : groups) {
        AnaGroupDescriptor descriptor;
        descriptor.group = group.group;
        descriptor.state = group.state;
        descriptor.namespaces = group.namespaces;
        add(core::as_bytes_of(descriptor));
        out.resize(out.size() + std::size_t{4} * std::min<std::uint32_t>(group.namespaces, 5000));
    }
    return out;
}

AnaFacts facts(std::uint32_t groups) {
    AnaFacts out;
    out.reported = true;
    out.groups = groups;
    out.group_max = groups;
    return out;
}

/// Reads as the host does, what is behind the log as zeros; the number of pieces, or 0.
int read(AnaLogReader& reader, const std::vector<std::byte>& log) {
    int pieces = 0;
    while (const auto next = reader.next()) {
        std::vector<std::byte> piece(next->bytes);
        for (std::size_t i = 0; i < piece.size() && next->offset + i < log.size(); ++i) {
            piece[i] = log[next->offset + i];
        }
        if (!reader.add(piece)) {
            return 0;
        }
        ++pieces;
    }
    return pieces;
}

TEST(AnaLogTest, Groups_ofEveryState_areRead) {
    AnaLogReader reader(facts(9));
    EXPECT_EQ(read(reader, log_of(5, {{1, 0x1}, {3, 0x2}, {4, 0x3}, {8, 0x4}, {9, 0xff}})), 1);
    const std::map<std::uint32_t, AnaState> expected{{1, AnaState::Optimized},
                                                     {3, AnaState::NonOptimized},
                                                     {4, AnaState::Inaccessible},
                                                     {8, AnaState::PersistentLoss},
                                                     {9, AnaState::Change}};
    EXPECT_EQ(reader.states(), expected);
    EXPECT_EQ(reader.change_count(), 7U);
}

TEST(AnaLogTest, Log_longerThanAPiece_isReadInPieces) {
    std::vector<Group> groups;
    for (std::uint32_t i = 1; i <= 1000; ++i) {
        groups.push_back({i, static_cast<std::uint8_t>(i % 4 + 1), 0});
    }
    AnaLogReader reader(facts(1000));
    EXPECT_EQ(read(reader, log_of(1000, groups)), 8);  // 32016 bytes
    EXPECT_EQ(reader.states().size(), 1000U);
    EXPECT_EQ(reader.states().at(999), AnaState::PersistentLoss);
}

TEST(AnaLogTest, Namespaces_listedThoughNotAskedFor_arePassedOver) {
    AnaLogReader reader(facts(2));
    EXPECT_GT(read(reader, log_of(2, {{1, 1, 3000}, {2, 3, 1}})), 1);
    EXPECT_EQ(reader.states().at(2), AnaState::Inaccessible);
}

TEST(AnaLogTest, Lies_areRefused) {
    const std::vector<std::vector<std::byte>> lies{
        log_of(5, {{1, 1}}),                 // more groups than there can be
        log_of(2, {{1, 1}, {1, 2}}),         // one twice
        log_of(1, {{0, 1}}),                 // no group
        log_of(1, {{5, 1}}),                 // greater than ANAGRPMAX
        log_of(1, {{1, 0}}),                 // no state
        log_of(1, {{1, 7}}),                 // neither
        log_of(1, {{1, 1, 0xffffffffU}}),    // more namespaces than memory
        log_of(2, {{1, 1, 60000}, {2, 1}}),  // zeros where the next group should be
    };
    for (std::size_t i = 0; i < lies.size(); ++i) {
        AnaLogReader reader(facts(4));
        EXPECT_EQ(read(reader, lies[i]), 0) << i;
    }
}

TEST(AnaLogTest, RandomBytes_endInBoundedTime) {
    core::Prng prng(1);
    for (int round = 0; round < 2000; ++round) {
        std::vector<std::byte> log(512);
        for (std::byte& byte : log) {
            byte = prng.below(3) == 0 ? static_cast<std::byte>(prng.next()) : std::byte{0};
        }
        AnaLogReader reader(facts(static_cast<std::uint32_t>(prng.next())));
        int pieces = 0;
        while (const auto next = reader.next()) {
            ASSERT_LT(++pieces, 100);
            std::vector<std::byte> piece(next->bytes);
            std::memcpy(piece.data(), log.data(), std::min(piece.size(), log.size()));
            if (!reader.add(piece)) {
                break;
            }
        }
    }
}

}  // namespace
}  // namespace remora::backends::nvme_tcp
