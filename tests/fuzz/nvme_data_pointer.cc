// SPDX-License-Identifier: Apache-2.0
// Target: PRP entries, PRP lists and SGLs in hostile guest memory.
//
//   input: two regions (where, how large), the command's data pointer, the length, then the memory
//
// What is located is exactly so many bytes, all of them of the guest's memory.
#include <array>
#include <vector>

#include "core/check.h"
#include "nvme/data_pointer.h"
#include "tests/fuzz/support/input.h"

namespace remora::fuzz {
namespace {

constexpr std::uint64_t kBase = 0x10000;
constexpr std::uint32_t kMostBytes = 256 * 1024;

bool inside(const core::Segment& segment, std::span<const std::byte> region) {
    return segment.data >= region.data() &&
           segment.data + segment.size <= region.data() + region.size();
}

void run(Input input) {
    std::array<std::vector<std::byte>, 2> memory;
    std::array<memory::GuestMemory::Region, 2> regions;
    std::uint64_t next = kBase;
    for (std::size_t i = 0; i < regions.size(); ++i) {
        memory[i].resize(1 + std::size_t{input.u16()} % 0x4000);
        next += i == 0 ? 0 : input.u8();
        regions[i] = {.guest_address = next, .user_address = 0, .bytes = memory[i]};
        next += memory[i].size();
    }
    memory::GuestMemory guest;
    CHECK(guest.set_regions(regions).has_value());
    nvme::spec::Command command{};
    command.flags = static_cast<std::uint8_t>(input.u8() & 0xc0U);
    command.sgl = input.take<nvme::spec::SglDescriptor>();
    const std::uint32_t bytes = input.u32() % (kMostBytes + 1);
    while (!input.empty()) {
        patch(input, memory[input.below(2)]);
    }
    std::vector<core::Segment> storage(nvme::max_segments(kMostBytes));
    const auto located = nvme::locate_data(guest, command, bytes, storage);
    if (!located) {
        CHECK(located.error() != 0);
        return;
    }
    CHECK(core::total_size(*located) == bytes);
    for (const core::Segment& segment : *located) {
        CHECK(segment.size > 0);
        CHECK(inside(segment, memory[0]) || inside(segment, memory[1]));
    }
}

}  // namespace
}  // namespace remora::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    remora::fuzz::run(remora::fuzz::Input(data, size));
    return 0;
}
