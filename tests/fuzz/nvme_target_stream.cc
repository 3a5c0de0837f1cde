// SPDX-License-Identifier: Apache-2.0
// Target: the byte stream that an NVMe/TCP target receives on one connection, cut anywhere.
//
//   input: options, cut, stream…
//
// The stream is taken as it is, or (option) with the digests of its PDUs made right, so that what
// is behind them is reached. Whatever comes, the target's own PDUs keep the rules, and it can be
// stopped with nothing left over.
#include "tests/fuzz/support/target_world.h"

namespace remora::fuzz {
namespace {

enum Option : std::uint8_t {
    kHelper = 1,     ///< An admin queue is there: the stream may be an I/O queue of it.
    kSeal = 2,       ///< Digests are made right.
    kNarrow = 4,     ///< The target's socket takes little.
    kImpatient = 8,  ///< Time passes between the cuts.
};

void seal(std::vector<std::byte>& stream) {
    using nvme::tcp::CommonHeader;
    std::span<std::byte> left(stream);
    CommonHeader header;
    while (left.size() >= sizeof(header)) {
        std::memcpy(&header, left.data(), sizeof(header));
        const std::size_t size = header.plen;
        if (size < sizeof(header) || size > left.size()) {
            return;
        }
        const auto pdu = left.first(size);
        left = left.subspan(size);
        if ((header.flags & nvme::tcp::kHeaderDigest) != 0 && header.hlen + 4U <= size) {
            nvme::tcp::seal_header(pdu, header.hlen);
        }
        if ((header.flags & nvme::tcp::kDataDigest) != 0 && header.pdo + 4U <= size) {
            nvme::tcp::store_digest(pdu.last(4),
                                    core::crc32c(pdu.subspan(header.pdo, size - header.pdo - 4U)));
        }
    }
}

void run(Input input) {
    const std::uint8_t options = input.u8();
    const std::uint32_t cut = input.u8();
    TargetWorld host_side;
    World& world = host_side.world;
    std::unique_ptr<RawTargetHost> helper;
    if ((options & kHelper) != 0) {
        helper = host_side.admin_queue(0, 0);
    }
    const auto rest = input.rest();
    std::vector<std::byte> stream(rest.begin(), rest.end());
    if ((options & kSeal) != 0) {
        seal(stream);
    }
    world.io.window = (options & kNarrow) != 0 ? 600 : std::size_t{1} << 20U;
    const auto host = host_side.dial(0);
    host->raw = true;
    std::span<const std::byte> left(stream);
    std::uint32_t state = cut;
    while (!left.empty() && !host->ended()) {
        state = state * 1664525U + 1013904223U;
        const std::size_t wanted = cut == 0 ? left.size() : 1 + (state >> 16U) % cut;
        const std::size_t size = std::min({wanted, left.size(), world.io.window});
        host->send(left.first(size));
        left = left.subspan(size);
        if ((options & kImpatient) != 0 && state % 8 == 0) {
            world.pass(std::chrono::seconds(2));
        } else {
            world.turn(2);
        }
        host->listen();
    }
    for (int i = 0; i < 4; ++i) {
        world.settle();
        host->listen();
    }
    world.pass(std::chrono::seconds((options & kImpatient) != 0 ? 100 : 1));
    host->listen();
}

}  // namespace
}  // namespace remora::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    remora::fuzz::run(remora::fuzz::Input(data, size));
    return 0;
}
