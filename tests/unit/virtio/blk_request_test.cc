// SPDX-License-Identifier: Apache-2.0
#include "virtio/blk_request.h"

#include <array>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

namespace remora::virtio {
namespace {

/// A chain over plain memory: readable parts and writable parts of the given sizes.
class BlkRequestTest : public testing::Test {
  public:
    void make_chain(const std::vector<std::size_t>& readable,
                    const std::vector<std::size_t>& writable) {
        chain = {};
        std::size_t at = 0;
        std::size_t index = 0;
        for (const std::size_t size : readable) {
            segments[index++] = {bytes.data() + at, size};
            at += size;
            chain.readable_bytes += size;
            ++chain.readable;
        }
        for (const std::size_t size : writable) {
            segments[index++] = {bytes.data() + at, size};
            at += size;
            chain.writable_bytes += size;
            ++chain.writable;
        }
        last_byte = bytes.data() + at - 1;
        chain.storage = segments;
    }
    void put_header(std::uint32_t type, std::uint64_t sector) {
        BlkHeader header;
        header.type = type;
        header.sector = sector;
        std::memcpy(bytes.data(), &header, sizeof(header));
    }
    void put_range(std::uint64_t sector, std::uint32_t sectors, std::uint32_t flags) {
        BlkRange range;
        range.sector = sector;
        range.num_sectors = sectors;
        range.flags = flags;
        std::memcpy(bytes.data() + sizeof(BlkHeader), &range, sizeof(range));
    }
    ParseResult parse() { return parse_blk_request(chain, request); }

    std::array<std::byte, 8192> bytes{};
    std::array<core::Segment, 16> segments;
    std::byte* last_byte = nullptr;
    Chain chain;
    BlkRequest request;
};

TEST_F(BlkRequestTest, Parse_read_dataIsAllButTheStatus) {
    make_chain({16}, {512, 512, 1});
    put_header(0, 77);
    ASSERT_EQ(parse(), ParseResult::Ok);
    EXPECT_EQ(request.sector, 77U);
    EXPECT_EQ(request.data.size(), 2U);
    EXPECT_EQ(request.data_bytes, 1024U);
    EXPECT_EQ(request.status_byte, last_byte);
}

TEST_F(BlkRequestTest, Parse_statusSharesTheDataDescriptor_isTheLastByte) {
    make_chain({16}, {513});
    put_header(0, 0);
    ASSERT_EQ(parse(), ParseResult::Ok);
    EXPECT_EQ(request.data_bytes, 512U);
    EXPECT_EQ(core::total_size(request.data), 512U);
    EXPECT_EQ(request.status_byte, last_byte);
}

TEST_F(BlkRequestTest, Parse_headerInPiecesWithData_isPutTogether) {
    make_chain({1, 7, 8 + 100, 412}, {1});
    put_header(1, 0x1122334455667788);
    ASSERT_EQ(parse(), ParseResult::Ok);
    EXPECT_EQ(request.sector, 0x1122334455667788U);
    EXPECT_EQ(request.data_bytes, 512U);
    ASSERT_EQ(request.data.size(), 2U);
    EXPECT_EQ(request.data[0].data, bytes.data() + 16);
}

TEST_F(BlkRequestTest, Parse_noWritableByte_hasNoStatus) {
    make_chain({16, 512}, {});
    put_header(1, 0);
    EXPECT_EQ(parse(), ParseResult::NoStatus);
    EXPECT_EQ(request.status_byte, nullptr);
}

TEST_F(BlkRequestTest, Parse_headerCutShort_isMalformedWithStatus) {
    make_chain({15}, {1});
    EXPECT_EQ(parse(), ParseResult::Malformed);
    EXPECT_EQ(request.status_byte, last_byte);
    make_chain({}, {1});
    EXPECT_EQ(parse(), ParseResult::Malformed);
}

TEST_F(BlkRequestTest, Parse_readWithReadableData_isMalformed) {
    make_chain({17}, {513});
    put_header(0, 0);
    EXPECT_EQ(parse(), ParseResult::Malformed);
}

TEST_F(BlkRequestTest, Parse_unknownType_isUnsupported) {
    make_chain({16}, {1});
    put_header(99, 0);
    EXPECT_EQ(parse(), ParseResult::Unsupported);
}

TEST_F(BlkRequestTest, Parse_discard_givesTheRange) {
    make_chain({16, 16}, {1});
    put_header(11, 0);
    put_range(800, 24, 0);
    ASSERT_EQ(parse(), ParseResult::Ok);
    EXPECT_EQ(request.sector, 800U);
    EXPECT_EQ(request.range_sectors, 24U);
}

TEST_F(BlkRequestTest, Parse_discardWithUnmapFlag_isUnsupported) {
    make_chain({32}, {1});
    put_header(11, 0);
    put_range(0, 8, kRangeUnmap);
    EXPECT_EQ(parse(), ParseResult::Unsupported);
}

TEST_F(BlkRequestTest, Parse_writeZeroesFlags_unmapIsFineOthersAreNot) {
    make_chain({32}, {1});
    put_header(13, 0);
    put_range(0, 8, kRangeUnmap);
    EXPECT_EQ(parse(), ParseResult::Ok);
    make_chain({32}, {1});
    put_range(0, 8, 2);
    EXPECT_EQ(parse(), ParseResult::Unsupported);
}

TEST_F(BlkRequestTest, Parse_rangeListOfWrongSize_isRefused) {
    make_chain({16}, {1});
    put_header(11, 0);
    EXPECT_EQ(parse(), ParseResult::Malformed);
    make_chain({16 + 15}, {1});
    put_header(11, 0);
    EXPECT_EQ(parse(), ParseResult::Malformed);
    make_chain({16 + 32}, {1});
    put_header(11, 0);
    EXPECT_EQ(parse(), ParseResult::Unsupported);
}

}  // namespace
}  // namespace remora::virtio
