// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/oracle/block_pattern.h"

#include <cstring>

#include "core/check.h"
#include "core/crc32c.h"

namespace remora::sim {
namespace {

constexpr std::uint64_t kMagic = 0x6b426172'6f6d6552ULL;  // "RemoraBk"
constexpr std::size_t kWord = sizeof(std::uint64_t);
constexpr std::size_t kHeaderWords = 6;
constexpr std::size_t kCrcWord = 5;

std::uint64_t load(std::span<const std::byte> block, std::size_t word) {
    std::uint64_t value = 0;
    std::memcpy(&value, block.data() + word * kWord, kWord);
    return value;
}

void store(std::span<std::byte> block, std::size_t word, std::uint64_t value) {
    std::memcpy(block.data() + word * kWord, &value, kWord);
}

std::uint64_t mix(std::uint64_t value) {
    value = (value ^ (value >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27U)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31U);
}

std::uint64_t base_of(const BlockIdentity& identity) {
    std::uint64_t base = mix(identity.volume + 1);
    base = mix(base ^ identity.lba);
    base = mix(base + identity.sequence);
    return mix(base ^ identity.seed);
}

/// Never zero, so that a word that was zeroed is wrong whatever the write.
std::uint64_t filler(std::uint64_t base, std::size_t word) {
    return ((base + word * 0x9e3779b97f4a7c15ULL) * 0xd6e8feb86659fd93ULL) | 1U;
}

std::uint64_t crc_word(std::span<const std::byte> block) {
    constexpr std::byte kZeros[kWord] = {};
    core::Crc32c crc;
    crc.update(block.first(kCrcWord * kWord));
    crc.update(kZeros);
    crc.update(block.subspan(kHeaderWords * kWord));
    return crc.value() | (std::uint64_t{block.size()} << 32U);
}

bool all_zeros(std::span<const std::byte> block) {
    return block[0] == std::byte{} &&
           std::memcmp(block.data(), block.data() + 1, block.size() - 1) == 0;
}

}  // namespace

void fill_block(std::span<std::byte> block, const BlockIdentity& identity) {
    CHECK(block.size() % kWord == 0 && block.size() >= (kHeaderWords + 2) * kWord);
    store(block, 0, kMagic);
    store(block, 1, identity.volume);
    store(block, 2, identity.lba);
    store(block, 3, identity.sequence);
    store(block, 4, identity.seed);
    const std::uint64_t base = base_of(identity);
    for (std::size_t word = kHeaderWords; word < block.size() / kWord; ++word) {
        store(block, word, filler(base, word));
    }
    store(block, kCrcWord, crc_word(block));
}

FoundBlock find_block(std::span<const std::byte> block) {
    CHECK(block.size() % kWord == 0 && block.size() >= (kHeaderWords + 2) * kWord);
    FoundBlock found;
    if (load(block, 0) != kMagic) {
        found.kind = all_zeros(block) ? FoundBlock::Kind::Zeros : FoundBlock::Kind::Unknown;
        return found;
    }
    found.identity = {load(block, 1), load(block, 2), load(block, 3), load(block, 4)};
    const std::uint64_t base = base_of(found.identity);
    for (std::size_t word = kHeaderWords; word < block.size() / kWord; ++word) {
        if (load(block, word) != filler(base, word)) {
            found.kind = FoundBlock::Kind::Mixed;
            found.first_wrong = word * kWord;
            return found;
        }
    }
    const bool sealed = load(block, kCrcWord) == crc_word(block);
    found.kind = sealed ? FoundBlock::Kind::Whole : FoundBlock::Kind::Mixed;
    found.first_wrong = sealed ? 0 : kCrcWord * kWord;
    return found;
}

}  // namespace remora::sim
