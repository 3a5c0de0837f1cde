// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/api/request_maker.h"

#include <array>
#include <cstdint>
#include <limits>
#include <utility>

#include <google/protobuf/text_format.h>

#include "core/check.h"
#include "tests/unit/control/bad_input_rows.h"

namespace remora::fuzz {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr std::uint32_t kMostEdits = 6;
constexpr std::uint32_t kDeepest = 4;
constexpr std::size_t kLongestText = 48;

/// Names, ids, places and paths: of the world, of what calls make, and of nothing.
constexpr std::array kTexts{
    "",
    "*",
    "-",
    "x",
    "new",
    "m0",
    "m1",
    "n1",
    "a0",
    "e0",
    "volumes/x",
    "volumes/new",
    "volumes/m0",
    "volumes/n1",
    "volumes/q0",
    "volumes/d0",
    "volumes/e0",
    "mallocVolumes/x",
    "nullVolumes/new",
    "aioVolumes/new",
    "aioVolumes/a0",
    "qosVolumes/q0",
    "virtioBlks/d0",
    "virtioBlks/new",
    "encryptedVolumes/e0",
    "r0n1",
    "r0n2",
    "r1n3",
    "nvmeSubsystems/s0",
    "nvmeSubsystems/s1",
    "nvmeSubsystems/new",
    "nvmeSubsystems/-",
    "nvmeSubsystems/s0/nvmeControllers/c0",
    "nvmeSubsystems/s0/nvmeControllers/new",
    "nvmeSubsystems/s0/nvmeNamespaces/ns0",
    "nvmeSubsystems/s1/nvmeNamespaces/new",
    "nvmeRemoteControllers/r0",
    "nvmeRemoteControllers/r1",
    "nvmeRemoteControllers/new",
    "nvmeRemoteControllers/r0/nvmePaths/p0",
    "nvmeRemoteControllers/r1/nvmePaths/new",
    "nvmeRemoteControllers/r0/nvmeRemoteNamespaces/1",
    "attachments/3",
    "attachments/5",
    "attachments/3.2",
    "discoveryReferrals/f0",
    "capacities/k0",
    "capacities/k1",
    "volumes/attached-3-11000000",
    "attached-3-11000000",
    "11000000-0000-0000-0000-000000000001",
    "11000000-0000-0000-0000-000000000003",
    "00000000-0000-0000-0000-000000000000",
    "nqn.2024-01.org.example:target",
    "nqn.2024-01.org.example:empty",
    "nqn.2024-01.org.example:s0",
    "nqn.2024-01.org.example:x",
    "10.0.0.1",
    "10.0.0.2",
    "::1",
    "4420",
    "0",
    "65536",
    "/files/x",
    "/files/a0",
    "a\n\x1b[31m",
    "spec",
    "spec.nqn",
    "spec.host_nsid",
    "name",
    "uuid",
    "blocks_count",
    "limits",
    "limits.max",
    "max_limit.rw_iops_kiops",
    "multipath",
    "tcp.hdgst",
    "opi_api.storage.v1.VirtioBlk",
    "nvmeRemoteControllers/attached-000000000000",
};
constexpr std::array<std::int64_t, 20> kNumbers{0,
                                                1,
                                                2,
                                                3,
                                                5,
                                                8,
                                                9,
                                                63,
                                                64,
                                                512,
                                                1024,
                                                4096,
                                                4420,
                                                65535,
                                                -1,
                                                10'000'000,
                                                std::numeric_limits<std::int32_t>::max(),
                                                std::numeric_limits<std::int32_t>::min(),
                                                std::numeric_limits<std::int64_t>::max(),
                                                std::numeric_limits<std::int64_t>::min()};

std::string text_of(Input& input) {
    const std::uint32_t choice = input.u8();
    if (choice < kTexts.size()) {
        return kTexts[choice];
    }
    if (choice < 0xf0) {
        // Of two, so that new names that belong together come about.
        const std::string first = kTexts[choice % kTexts.size()];
        return first + (input.flag() ? "/" : "") + kTexts[input.u8() % kTexts.size()];
    }
    std::string text = input.take_text(input.below(kLongestText));
    for (char& c : text) {
        c = static_cast<char>(static_cast<unsigned char>(c) & 0x7fU);  // UTF-8, whatever it is
    }
    return text;
}

std::int64_t number_of(Input& input) {
    const std::uint32_t choice = input.u8();
    return choice < 200 ? kNumbers[choice % kNumbers.size()] : input.take<std::int64_t>();
}

void set_scalar(Message& at, const FieldDescriptor& field, Input& input) {
    const Reflection& reflection = *at.GetReflection();
    const auto type = field.cpp_type();
    if (type == FieldDescriptor::CPPTYPE_STRING) {
        reflection.SetString(&at, &field, text_of(input));
    } else if (type == FieldDescriptor::CPPTYPE_ENUM) {
        const int number = input.u8();
        reflection.SetEnumValue(&at, &field, number < 20 ? number : 9999);
    } else if (type == FieldDescriptor::CPPTYPE_BOOL) {
        reflection.SetBool(&at, &field, input.flag());
    } else if (type == FieldDescriptor::CPPTYPE_INT32) {
        reflection.SetInt32(&at, &field, static_cast<std::int32_t>(number_of(input)));
    } else if (type == FieldDescriptor::CPPTYPE_INT64) {
        reflection.SetInt64(&at, &field, number_of(input));
    } else if (type == FieldDescriptor::CPPTYPE_UINT32) {
        reflection.SetUInt32(&at, &field, static_cast<std::uint32_t>(number_of(input)));
    } else if (type == FieldDescriptor::CPPTYPE_UINT64) {
        reflection.SetUInt64(&at, &field, static_cast<std::uint64_t>(number_of(input)));
    } else if (type == FieldDescriptor::CPPTYPE_DOUBLE) {
        reflection.SetDouble(&at, &field, static_cast<double>(number_of(input)) / 64);
    }
}

/// Sets, clears or adds to one field, somewhere in the message.
void edit(Message& message, Input& input) {
    Message* at = &message;
    for (std::uint32_t depth = 0; depth < kDeepest; ++depth) {
        const int count = at->GetDescriptor()->field_count();
        if (count == 0) {
            return;
        }
        const std::uint32_t byte = input.u8();
        const FieldDescriptor& field =
            *at->GetDescriptor()->field(static_cast<int>(byte % static_cast<unsigned>(count)));
        const Reflection& reflection = *at->GetReflection();
        if (byte >= 0xe0) {
            return reflection.ClearField(at, &field);
        }
        if (field.is_repeated() && field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
            at = reflection.AddMessage(at, &field);
            continue;
        }
        if (field.is_repeated()) {
            if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
                reflection.AddString(at, &field, text_of(input));
            } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
                reflection.AddEnumValue(at, &field, input.u8() % 8);
            }
            return;
        }
        if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
            return set_scalar(*at, field, input);
        }
        at = reflection.MutableMessage(at, &field);
    }
}

}  // namespace

RequestMaker::RequestMaker() {
    for (const auto& [method, row] : test::good_requests()) {
        if (method == "WatchResources" || method == "GetInventory") {
            continue;  // Neither is a call of the control plane.
        }
        const PlaneCall* call = find_call(method);
        CHECK(call != nullptr);
        MessagePtr good(call->request->New());
        CHECK(google::protobuf::TextFormat::ParseFromString(row.text, good.get()));
        good_[method] = std::move(good);
    }
    CHECK(good_.size() == plane_calls().size());
}

MessagePtr RequestMaker::make(const PlaneCall& call, Input& input) const {
    MessagePtr request(call.request->New());
    const std::uint32_t how = input.u8();
    if (how == 0xff) {
        const auto bytes = input.take_bytes(input.u8());
        if (!request->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
            request->Clear();  // gRPC does not let it come so far.
        }
        return request;
    }
    if (how < 0xe0) {
        request->CopyFrom(*good_.at(call.method));
    }
    for (std::uint32_t i = 0; i < how % (kMostEdits + 1); ++i) {
        edit(*request, input);
    }
    return request;
}

}  // namespace remora::fuzz
