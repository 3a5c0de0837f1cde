// SPDX-License-Identifier: Apache-2.0
#include "services/crypto/crypt_segments.h"

#include <array>

#include "core/check.h"

namespace remora::services::crypto {

namespace {

using Scratch = std::array<std::byte, 4096>;  // the largest sector

}  // namespace

void encrypt_out(AesXts& cipher,
                 std::size_t sector_size,
                 CryptPosition& from,
                 std::span<std::byte> out) {
    while (!out.empty()) {
        const core::Segment run = from.cursor.peek(out.size());
        std::size_t bytes = run.size - run.size % sector_size;
        if (bytes > 0) {
            cipher.encrypt(from.sector, sector_size, {run.data, bytes}, out.first(bytes));
            from.cursor.advance(bytes);
        } else {
            alignas(64) Scratch scratch;
            bytes = sector_size;
            const auto whole = std::span(scratch).first(bytes);
            CHECK(from.cursor.copy_out(whole) == bytes);
            cipher.encrypt(from.sector, sector_size, whole, out.first(bytes));
        }
        from.sector += bytes / sector_size;
        out = out.subspan(bytes);
    }
}

void decrypt_within(AesXts& cipher, std::size_t sector_size, CryptPosition& at, std::size_t bytes) {
    while (bytes > 0) {
        const core::Segment run = at.cursor.peek(bytes);
        std::size_t done = run.size - run.size % sector_size;
        if (done > 0) {
            cipher.decrypt(at.sector, sector_size, {run.data, done}, {run.data, done});
            at.cursor.advance(done);
        } else {
            alignas(64) Scratch scratch;
            done = sector_size;
            const auto whole = std::span(scratch).first(done);
            core::SegmentCursor reader = at.cursor;
            CHECK(reader.copy_out(whole) == done);
            cipher.decrypt(at.sector, sector_size, whole, whole);
            at.cursor.copy_in(whole);
        }
        at.sector += done / sector_size;
        bytes -= done;
    }
}

}  // namespace remora::services::crypto
