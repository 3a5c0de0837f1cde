// SPDX-License-Identifier: Apache-2.0
// What every reactor::File must do, on Linux and in the simulator.
#include <array>
#include <cstdlib>
#include <set>

#include "tests/contract/io_fixture.h"

namespace remora::test {
namespace {

using reactor::File;
using reactor::FileOp;
using reactor::FileOptions;

constexpr std::size_t kBlock = 4096;  // a multiple of every alignment asked for
constexpr std::uint64_t kSize = 64 * kBlock;

/// Aligned memory of whole blocks.
class Blocks {
  public:
    explicit Blocks(std::size_t count, unsigned fill = 0)
        : size_(count * kBlock),
          bytes_(static_cast<std::byte*>(std::aligned_alloc(kBlock, size_))) {
        std::memset(bytes_.get(), static_cast<int>(fill), size_);
    }
    [[nodiscard]] std::span<std::byte> all() const { return {bytes_.get(), size_}; }
    [[nodiscard]] bool holds(std::size_t block, unsigned fill) const {
        for (const std::byte byte : all().subspan(block * kBlock, kBlock)) {
            if (byte != static_cast<std::byte>(fill)) {
                return false;
            }
        }
        return true;
    }

  private:
    struct Free {
        void operator()(std::byte* bytes) const { std::free(bytes); }
    };
    std::size_t size_;
    std::unique_ptr<std::byte, Free> bytes_;
};

/// An operation and how it ended.
class Operation final : public reactor::FileHandler {
  public:
    Operation(FileOp::Kind kind, std::uint64_t block, std::span<const Segment> segments) {
        op_.kind = kind;
        op_.offset = block * kBlock;
        op_.length = core::total_size(segments);
        op_.segments = segments;
        op_.handler = this;
    }
    /// Without bytes of its own: Flush, PunchHole, ZeroRange.
    Operation(FileOp::Kind kind, std::uint64_t block, std::uint64_t blocks)
        : Operation(kind, block, std::span<const Segment>{}) {
        op_.length = blocks * kBlock;
    }
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;

    void submit(File& file) {
        file.submit(op_);
        EXPECT_EQ(calls, 0) << "never from within the call";
    }
    void on_file_done(FileOp& op) override {
        EXPECT_EQ(&op, &op_);
        ++calls;
        result = op.result;
        if (then) {
            then();
        }
    }
    int calls = 0;
    int result = 1;
    std::function<void()> then;

  private:
    FileOp op_;
};

class FileContract : public IoContract {
  public:
    core::Result<std::unique_ptr<File>> open(bool create, bool exclusive = true) {
        FileOptions options;
        options.create = create;
        options.exclusive = exclusive;
        options.size = kSize;
        return io(0).open_file(world().path("disk"), options);
    }
    int perform(File& file, Operation& operation) {
        operation.submit(file);
        EXPECT_TRUE(world().run_until([&] { return operation.calls > 0; }));
        EXPECT_EQ(operation.calls, 1);
        return operation.result;
    }
    int write(File& file, std::uint64_t block, const Blocks& blocks) {
        return transfer(FileOp::Kind::Write, file, block, blocks);
    }
    int read(File& file, std::uint64_t block, const Blocks& blocks) {
        return transfer(FileOp::Kind::Read, file, block, blocks);
    }
    int clear(FileOp::Kind kind, File& file, std::uint64_t block, std::uint64_t blocks) {
        Operation operation(kind, block, blocks);
        return perform(file, operation);
    }

  private:
    int transfer(FileOp::Kind kind, File& file, std::uint64_t block, const Blocks& blocks) {
        const Segment segment{blocks.all().data(), blocks.all().size()};
        Operation operation(kind, block, std::span(&segment, 1));
        return perform(file, operation);
    }
};

TEST_P(FileContract, Open_missing_isNotFound) {
    const auto file = open(false);
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().kind, ErrorKind::NotFound);
}

TEST_P(FileContract, Create_file_isZerosOfItsSize) {
    const auto file = open(true);
    ASSERT_TRUE(file);
    EXPECT_EQ((*file)->size(), kSize);
    EXPECT_LE((*file)->memory_alignment(), kBlock);
    EXPECT_LE((*file)->offset_alignment(), kBlock);
    const Blocks blocks(64, 0xff);

    EXPECT_EQ(read(**file, 0, blocks), 0);

    for (std::size_t i = 0; i < 64; ++i) {
        EXPECT_TRUE(blocks.holds(i, 0));
    }
}

TEST_P(FileContract, Open_held_isRefusedUntilItIsClosed) {
    auto first = open(true);
    ASSERT_TRUE(first);
    const auto second = open(false);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind, ErrorKind::FailedPrecondition);
    EXPECT_TRUE(open(false, false)) << "who does not ask for it alone is let in";

    first->reset();

    EXPECT_TRUE(open(false));
}

TEST_P(FileContract, Create_existing_keepsSizeAndBytes) {
    auto file = open(true);
    ASSERT_TRUE(file);
    EXPECT_EQ(write(**file, 3, Blocks(1, 0x5a)), 0);
    file->reset();
    FileOptions options;
    options.create = true;
    options.size = 2 * kSize;

    file = io(0).open_file(world().path("disk"), options);

    ASSERT_TRUE(file);
    EXPECT_EQ((*file)->size(), kSize);
    const Blocks blocks(1);
    EXPECT_EQ(read(**file, 3, blocks), 0);
    EXPECT_TRUE(blocks.holds(0, 0x5a));
}

TEST_P(FileContract, Write_scattered_readsBack) {
    const auto file = open(true);
    ASSERT_TRUE(file);
    const Blocks one(2, 1);
    const Blocks two(1, 2);
    const Segment segments[] = {{one.all().data(), 2 * kBlock}, {two.all().data(), kBlock}};
    Operation operation(FileOp::Kind::Write, 7, segments);
    EXPECT_EQ(perform(**file, operation), 0);
    EXPECT_EQ(clear(FileOp::Kind::Flush, **file, 0, 0), 0);
    const Blocks blocks(5, 0xff);

    EXPECT_EQ(read(**file, 6, blocks), 0);

    const std::array<unsigned, 5> expected{0, 1, 1, 2, 0};
    for (std::size_t i = 0; i < expected.size(); ++i) {
        EXPECT_TRUE(blocks.holds(i, expected[i])) << i;
    }
}

TEST_P(FileContract, PunchHoleAndZeroRange_readAsZeros) {
    const auto file = open(true);
    ASSERT_TRUE(file);
    EXPECT_EQ(write(**file, 0, Blocks(8, 9)), 0);
    EXPECT_EQ(clear(FileOp::Kind::PunchHole, **file, 1, 2), 0);
    EXPECT_EQ(clear(FileOp::Kind::ZeroRange, **file, 5, 2), 0);
    const Blocks blocks(8, 0xff);

    EXPECT_EQ(read(**file, 0, blocks), 0);

    const std::array<unsigned, 8> expected{9, 0, 0, 9, 9, 0, 0, 9};
    for (std::size_t i = 0; i < expected.size(); ++i) {
        EXPECT_TRUE(blocks.holds(i, expected[i])) << i;
    }
}

TEST_P(FileContract, Read_pastTheEnd_isAnError) {
    const auto file = open(true);
    ASSERT_TRUE(file);
    const Blocks blocks(2);
    EXPECT_EQ(read(**file, 63, blocks), -EIO);
    EXPECT_EQ(read(**file, 64, blocks), -EIO);
}

TEST_P(FileContract, PunchHoleAndZeroRange_pastTheEnd_doNotGrowTheFile) {
    auto file = open(true);
    ASSERT_TRUE(file);
    EXPECT_EQ(clear(FileOp::Kind::PunchHole, **file, 63, 4), 0);
    EXPECT_EQ(clear(FileOp::Kind::ZeroRange, **file, 63, 4), 0);
    EXPECT_EQ(read(**file, 63, Blocks(2)), -EIO);
    file->reset();

    file = open(false);

    ASSERT_TRUE(file);
    EXPECT_EQ((*file)->size(), kSize);
}

TEST_P(FileContract, Submit_manyAtOnce_eachCompletesOnce) {
    const auto file = open(true);
    ASSERT_TRUE(file);
    constexpr std::size_t kCount = 32;
    std::vector<Blocks> memory;
    std::vector<Segment> segments(kCount);
    std::vector<std::unique_ptr<Operation>> operations;
    for (std::size_t i = 0; i < kCount; ++i) {
        memory.emplace_back(1, static_cast<unsigned>(i + 1));
        segments[i] = {memory[i].all().data(), kBlock};
        operations.push_back(std::make_unique<Operation>(
            FileOp::Kind::Write, i, std::span<const Segment>(&segments[i], 1)));
    }
    for (const auto& operation : operations) {
        operation->submit(**file);
    }
    for (const auto& operation : operations) {
        run_until([&] { return operation->calls > 0; });
    }
    world().settle();

    const Blocks blocks(kCount);
    EXPECT_EQ(read(**file, 0, blocks), 0);
    for (std::size_t i = 0; i < kCount; ++i) {
        EXPECT_EQ(operations[i]->calls, 1);
        EXPECT_EQ(operations[i]->result, 0);
        EXPECT_TRUE(blocks.holds(i, static_cast<unsigned>(i + 1))) << i;
    }
}

TEST_P(FileContract, Submit_fromAHandler_isCarriedOut) {
    const auto file = open(true);
    ASSERT_TRUE(file);
    Operation second(FileOp::Kind::Flush, 0, 0);
    Operation first(FileOp::Kind::Flush, 0, 0);
    first.then = [&] { second.submit(**file); };

    EXPECT_EQ(perform(**file, first), 0);

    run_until([&] { return second.calls == 1; });
}

TEST_P(FileContract, Destroy_inTheLastCompletion_isAllowed) {
    auto file = open(true);
    ASSERT_TRUE(file);
    Operation operation(FileOp::Kind::Flush, 0, 0);
    operation.then = [&] { file->reset(); };

    EXPECT_EQ(perform(**file, operation), 0);
    world().settle();

    EXPECT_TRUE(open(false)) << "it is unlocked";
}

INSTANTIATE_TEST_SUITE_P(Io, FileContract, kWorlds, world_name);

}  // namespace
}  // namespace remora::test
