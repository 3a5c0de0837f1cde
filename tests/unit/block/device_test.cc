// SPDX-License-Identifier: Apache-2.0
#include "block/device.h"

#include <array>
#include <limits>
#include <string>

#include <gtest/gtest.h>

namespace remora::block {
namespace {

struct GeometryCase {
    const char* name;
    std::uint32_t block_size;
    std::uint64_t block_count;
    bool good;
};
class CheckGeometry : public testing::TestWithParam<GeometryCase> {};

TEST_P(CheckGeometry, Table) {
    Geometry geometry;
    geometry.block_size = GetParam().block_size;
    geometry.block_count = GetParam().block_count;
    const auto result = check_geometry(geometry);
    EXPECT_EQ(result.has_value(), GetParam().good);
    if (!result) {
        EXPECT_EQ(result.error().kind, core::ErrorKind::InvalidArgument);
    }
}

INSTANTIATE_TEST_SUITE_P(Cases,
                         CheckGeometry,
                         testing::Values(GeometryCase{"smallest", 512, 1, true},
                                         GeometryCase{"usual", 4096, 1U << 20U, true},
                                         GeometryCase{"largest", 512, (1ULL << 54U) - 1, true},
                                         GeometryCase{"noBlocks", 512, 0, false},
                                         GeometryCase{"tooMany", 512, 1ULL << 54U, false},
                                         GeometryCase{"overflowing", 4096, ~0ULL, false},
                                         GeometryCase{"zeroSize", 0, 1, false},
                                         GeometryCase{"tooSmall", 256, 1, false},
                                         GeometryCase{"tooLarge", 8192, 1, false},
                                         GeometryCase{"notAPower", 520, 1, false}),
                         [](const auto& info) { return std::string(info.param.name); });

constexpr std::uint64_t kBlocks = 1000;

Geometry plain() {
    Geometry geometry;
    geometry.block_size = 512;
    geometry.block_count = kBlocks;
    geometry.can_discard = true;
    geometry.can_write_zeroes = true;
    return geometry;
}
Geometry read_only() {
    Geometry geometry = plain();
    geometry.read_only = true;
    return geometry;
}
Geometry bare() {
    Geometry geometry = plain();
    geometry.can_discard = false;
    geometry.can_write_zeroes = false;
    return geometry;
}

struct Case {
    const char* name;
    Geometry geometry;
    Opcode opcode;
    std::uint64_t lba;
    std::uint32_t blocks;
    std::size_t data_bytes;
    Status expected;
};
class Validate : public testing::TestWithParam<Case> {};

TEST_P(Validate, Table) {
    const Case& with = GetParam();
    // Two segments, so that the sum counts and not the first.
    const std::array<Segment, 2> segments{
        {{nullptr, with.data_bytes / 3}, {nullptr, with.data_bytes - with.data_bytes / 3}}};
    Request request;
    request.opcode = with.opcode;
    request.lba = with.lba;
    request.block_count = with.blocks;
    request.data = segments;
    EXPECT_EQ(validate(request, with.geometry), with.expected);
}

constexpr std::uint64_t kMaxLba = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint32_t kMaxCount = std::numeric_limits<std::uint32_t>::max();

INSTANTIATE_TEST_SUITE_P(
    Cases,
    Validate,
    testing::Values(
        Case{"readFirst", plain(), Opcode::Read, 0, 1, 512, Status::Ok},
        Case{"readAll", plain(), Opcode::Read, 0, 1000, 512'000, Status::Ok},
        Case{"readLast", plain(), Opcode::Read, 999, 1, 512, Status::Ok},
        Case{"readBehindEnd", plain(), Opcode::Read, 1000, 1, 512, Status::OutOfRange},
        Case{"readOverEnd", plain(), Opcode::Read, 999, 2, 1024, Status::OutOfRange},
        Case{"readWraps", plain(), Opcode::Read, kMaxLba, 2, 1024, Status::OutOfRange},
        Case{"readHugeCount", plain(), Opcode::Read, 1, kMaxCount, 512, Status::OutOfRange},
        Case{"readNothing", plain(), Opcode::Read, 0, 0, 0, Status::InvalidRequest},
        Case{"readNoData", plain(), Opcode::Read, 0, 1, 0, Status::InvalidRequest},
        Case{"readTooMuchData", plain(), Opcode::Read, 0, 1, 513, Status::InvalidRequest},
        Case{"readOnlyRead", read_only(), Opcode::Read, 0, 1, 512, Status::Ok},
        Case{"write", plain(), Opcode::Write, 5, 2, 1024, Status::Ok},
        Case{"writeTooLittleData", plain(), Opcode::Write, 5, 2, 1023, Status::InvalidRequest},
        Case{"writeOverEnd", plain(), Opcode::Write, 500, 501, 501 * 512, Status::OutOfRange},
        Case{"writeToReadOnly", read_only(), Opcode::Write, 5, 2, 1024, Status::ReadOnly},
        Case{"flush", plain(), Opcode::Flush, 0, 0, 0, Status::Ok},
        Case{"flushReadOnly", read_only(), Opcode::Flush, 0, 0, 0, Status::Ok},
        Case{"zeroes", plain(), Opcode::WriteZeroes, 0, 1000, 0, Status::Ok},
        Case{"zeroesOverEnd", plain(), Opcode::WriteZeroes, 1, 1000, 0, Status::OutOfRange},
        Case{"zeroesNothing", plain(), Opcode::WriteZeroes, 1, 0, 0, Status::InvalidRequest},
        Case{"zeroesUnsupported", bare(), Opcode::WriteZeroes, 0, 1, 0, Status::Unsupported},
        Case{"zeroesToReadOnly", read_only(), Opcode::WriteZeroes, 0, 1, 0, Status::ReadOnly},
        Case{"discard", plain(), Opcode::Discard, 10, 10, 0, Status::Ok},
        Case{"discardUnsupported", bare(), Opcode::Discard, 0, 1, 0, Status::Unsupported},
        Case{"discardToReadOnly", read_only(), Opcode::Discard, 0, 1, 0, Status::ReadOnly},
        Case{"discardBehindEnd", plain(), Opcode::Discard, kMaxLba, 1, 0, Status::OutOfRange}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(DeviceStats, Add_sumsEveryCounter) {
    DeviceStats sum;
    DeviceStats other;
    other.read = {1, 2, 3, 4};
    other.write = {5, 6, 7, 8};
    other.flush = {9, 10, 11, 12};
    other.unmap = {13, 14, 15, 16};
    sum.add(other);
    sum.add(other);
    EXPECT_EQ(sum.read.ops, 2U);
    EXPECT_EQ(sum.read.latency_ns, 8U);
    EXPECT_EQ(sum.write.bytes, 12U);
    EXPECT_EQ(sum.flush.errors, 22U);
    EXPECT_EQ(sum.unmap.ops, 26U);
}

}  // namespace
}  // namespace remora::block
