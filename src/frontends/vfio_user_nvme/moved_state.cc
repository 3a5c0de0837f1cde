// SPDX-License-Identifier: Apache-2.0
#include "frontends/vfio_user_nvme/moved_state.h"

#include <algorithm>
#include <array>
#include <string>
#include <type_traits>

#include "core/byte_reader.h"
#include "core/crc32c.h"
#include "core/endian.h"
#include "frontends/vfio_user_nvme/doorbells.h"
#include "nvme/spec/pcie.h"
#include "vfio_user/pci_config.h"

namespace remora::frontends::vfio_user_nvme {

namespace {

using core::le16;
using core::le32;
using core::le64;

// Little-endian: the header, the fixed part, the configuration space, the doorbells, then each list
// behind its length. What changes them changes the version.
constexpr std::uint32_t kMagic = 0x4d454e52;  // "RNEM"
constexpr std::uint32_t kVersion = 2;

struct WireHeader {
    le32 magic;
    le32 version;
    le32 size;  // of what follows
    le32 crc;   // of what follows
};
static_assert(sizeof(WireHeader) == 16);

struct WireFunction {
    le64 asq;
    le64 acq;
    le64 shadow_values;
    le64 shadow_events;
    le32 aqa;
    le32 interrupt_mask;
    le32 cc;
    le32 csts;
    le32 event_config;
    le32 error_event;
    std::uint8_t namespace_pending = 0;
    std::uint8_t namespace_masked = 0;
    std::uint8_t changed_overflow = 0;
    std::uint8_t error_pending = 0;
    std::uint8_t error_masked = 0;
    std::array<std::uint8_t, 3> reserved{};
};
static_assert(sizeof(WireFunction) == 64);

struct WireCompletions {
    le64 address;
    le32 entries;
    le32 tail;
    le32 head;
    le16 qid;
    le16 vector;
    std::uint8_t interrupts = 0;
    std::uint8_t phase = 0;
    std::uint8_t broken = 0;
    std::array<std::uint8_t, 5> reserved{};
};
static_assert(sizeof(WireCompletions) == 32);

struct WireSubmissions {
    le64 address;
    le32 entries;
    le32 head;
    le16 qid;
    le16 cqid;
    std::uint8_t broken = 0;
    std::array<std::uint8_t, 3> reserved{};
};
static_assert(sizeof(WireSubmissions) == 24);

struct WireNamespace {
    le32 nsid;
    le32 block_size;
    le64 block_count;
    std::array<unsigned char, 16> uuid{};
};
static_assert(sizeof(WireNamespace) == 32);

class Writer {
  public:
    template <typename T>
    void put(const T& value) {
        put_bytes(core::as_bytes_of(value));
    }
    void put_bytes(std::span<const std::byte> bytes) {
        out.insert(out.end(), bytes.begin(), bytes.end());
    }
    /// Each of `from` as a `Wire`, by `encode`.
    template <typename Wire, typename T, typename F>
    void put_list(const std::vector<T>& from, F encode) {
        put(le32(static_cast<std::uint32_t>(from.size())));
        for (const T& one : from) {
            put(Wire(encode(one)));
        }
    }
    std::vector<std::byte> out;
};

/// False when there are more than `most`, or too few bytes.
template <typename Wire, typename T, typename F>
bool read_list(core::ByteReader& reader, std::vector<T>& to, std::size_t most, F decode) {
    le32 count;
    if (!reader.read(count) || count > most) {
        return false;
    }
    for (std::uint32_t i = 0; i < count; ++i) {
        Wire one;
        if (!reader.read(one)) {
            return false;
        }
        to.push_back(decode(one));
    }
    return true;
}

template <typename T>
T as_it_is(T value) {
    return value;
}

constexpr std::size_t kMostQueues = 65;
constexpr std::size_t kMostVectors = 65;
constexpr std::size_t kMostFeatures = 64;
constexpr std::size_t kMostEvents = 4;  // that a controller keeps: AERL + 1
constexpr std::size_t kMostChanged = 1024;
constexpr std::size_t kMostNamespaces = 1024;
constexpr std::size_t kMostTableBytes = 16 * kMostVectors;

// Each structure's fields are named once; `move` is kToWire or kToState.

template <typename Wire, typename State, typename Move>
void move_function(Wire& wire, State& state, Move move) {
    auto& controller = state.controller;
    move(wire.asq, state.asq);
    move(wire.acq, state.acq);
    move(wire.shadow_values, state.shadow_values);
    move(wire.shadow_events, state.shadow_events);
    move(wire.aqa, state.aqa);
    move(wire.interrupt_mask, state.interrupt_mask);
    move(wire.cc, controller.cc);
    move(wire.csts, controller.csts);
    move(wire.event_config, controller.event_config);
    move(wire.namespace_pending, controller.namespace_pending);
    move(wire.namespace_masked, controller.namespace_masked);
    move(wire.changed_overflow, controller.changed_overflow);
    move(wire.error_pending, controller.error_pending);
    move(wire.error_masked, controller.error_masked);
    move(wire.error_event, controller.error_event);
}

template <typename Wire, typename State, typename Move>
void move_completions(Wire& wire, State& state, Move move) {
    move(wire.address, state.address);
    move(wire.entries, state.entries);
    move(wire.tail, state.tail);
    move(wire.head, state.head);
    move(wire.qid, state.qid);
    move(wire.vector, state.vector);
    move(wire.interrupts, state.interrupts);
    move(wire.phase, state.phase);
    move(wire.broken, state.broken);
}

template <typename Wire, typename State, typename Move>
void move_submissions(Wire& wire, State& state, Move move) {
    move(wire.address, state.address);
    move(wire.entries, state.entries);
    move(wire.head, state.head);
    move(wire.qid, state.qid);
    move(wire.cqid, state.cqid);
    move(wire.broken, state.broken);
}

template <typename Wire, typename State, typename Move>
void move_namespace(Wire& wire, State& state, Move move) {
    move(wire.nsid, state.nsid);
    move(wire.block_size, state.block_size);
    move(wire.block_count, state.block_count);
    move(wire.uuid, state.uuid.bytes);
}

constexpr auto kToWire = [](auto& wire, const auto& state) {
    using State = std::remove_cvref_t<decltype(state)>;
    if constexpr (std::is_same_v<State, bool>) {
        wire = state ? 1 : 0;
    } else {
        wire = state;
    }
};
constexpr auto kToState = [](const auto& wire, auto& state) {
    if constexpr (std::is_same_v<decltype(state), bool&>) {
        state = wire != 0;
    } else {
        state = wire;
    }
};

WireFunction encode_function(const FunctionState& from) {
    WireFunction to;
    move_function(to, from, kToWire);
    return to;
}
WireCompletions encode_completions(const CompletionQueueState& from) {
    WireCompletions to;
    move_completions(to, from, kToWire);
    return to;
}
CompletionQueueState decode_completions(const WireCompletions& from) {
    CompletionQueueState to;
    move_completions(from, to, kToState);
    return to;
}
WireSubmissions encode_submissions(const SubmissionQueueState& from) {
    WireSubmissions to;
    move_submissions(to, from, kToWire);
    return to;
}
SubmissionQueueState decode_submissions(const WireSubmissions& from) {
    SubmissionQueueState to;
    move_submissions(from, to, kToState);
    return to;
}
WireNamespace encode_namespace(const MovedNamespace& from) {
    WireNamespace to;
    move_namespace(to, from, kToWire);
    return to;
}
MovedNamespace decode_namespace(const WireNamespace& from) {
    MovedNamespace to;
    move_namespace(from, to, kToState);
    return to;
}

bool decode_body(core::ByteReader& reader, MovedState& to) {
    FunctionState& function = to.function;
    nvme::ControllerState& controller = function.controller;
    WireFunction fixed;
    std::span<const std::byte> config;
    std::span<const std::byte> doorbells;
    if (!reader.read(fixed) || !reader.take(vfio_user::PciConfig::kBytes, config) ||
        !reader.take(Doorbells::kBytes, doorbells)) {
        return false;
    }
    move_function(fixed, function, kToState);
    function.config.assign(config.begin(), config.end());
    to.doorbells.assign(doorbells.begin(), doorbells.end());
    const auto number32 = [](le32 value) { return value.get(); };
    const auto number16 = [](le16 value) { return value.get(); };
    return read_list<std::byte>(reader, function.msix_table, kMostTableBytes,
                                as_it_is<std::byte>) &&
           read_list<le32>(reader, controller.changed, kMostChanged, number32) &&
           read_list<le32>(reader, controller.features, kMostFeatures, number32) &&
           read_list<le16>(reader, controller.not_coalesced, kMostVectors, number16) &&
           read_list<le16>(reader, controller.event_requests, kMostEvents, number16) &&
           read_list<WireCompletions>(reader, function.completions, kMostQueues,
                                      decode_completions) &&
           read_list<WireSubmissions>(reader, function.submissions, kMostQueues,
                                      decode_submissions) &&
           read_list<WireNamespace>(reader, to.namespaces, kMostNamespaces, decode_namespace) &&
           reader.remaining() == 0;
}

}  // namespace

std::vector<std::byte> encode_moved(const MovedState& from) {
    const FunctionState& function = from.function;
    Writer body;
    body.put(encode_function(function));
    body.put_bytes(function.config);
    body.put_bytes(from.doorbells);
    body.put_list<std::byte>(function.msix_table, as_it_is<std::byte>);
    body.put_list<le32>(function.controller.changed, as_it_is<std::uint32_t>);
    body.put_list<le32>(function.controller.features, as_it_is<std::uint32_t>);
    body.put_list<le16>(function.controller.not_coalesced, as_it_is<std::uint16_t>);
    body.put_list<le16>(function.controller.event_requests, as_it_is<std::uint16_t>);
    body.put_list<WireCompletions>(function.completions, encode_completions);
    body.put_list<WireSubmissions>(function.submissions, encode_submissions);
    body.put_list<WireNamespace>(from.namespaces, encode_namespace);
    WireHeader header;
    header.magic = kMagic;
    header.version = kVersion;
    header.size = static_cast<std::uint32_t>(body.out.size());
    header.crc = core::crc32c(body.out);
    Writer all;
    all.put(header);
    all.put_bytes(body.out);
    return all.out;
}

core::Result<MovedState> decode_moved(std::span<const std::byte> bytes) {
    const auto refuse = [](const char* what) {
        return core::fail(core::ErrorKind::InvalidArgument,
                          std::string("the state of a moved function ") + what);
    };
    core::ByteReader reader(bytes);
    WireHeader header;
    if (!reader.read(header) || header.magic != kMagic) {
        return refuse("is none");
    }
    if (header.version != kVersion) {
        return refuse("is of another version of Remora");
    }
    if (header.size != reader.remaining() ||
        header.crc != core::crc32c(bytes.subspan(sizeof(header)))) {
        return refuse("is not whole");
    }
    MovedState moved;
    if (!decode_body(reader, moved)) {
        return refuse("makes no sense");
    }
    const auto too_long = [](const auto& queue) {
        return queue.entries > nvme::spec::kMaxAdminEntries;
    };
    if (std::ranges::any_of(moved.function.submissions, too_long) ||
        std::ranges::any_of(moved.function.completions, too_long)) {
        return refuse("has a queue that cannot be");
    }
    return moved;
}

}  // namespace remora::frontends::vfio_user_nvme
