// SPDX-License-Identifier: Apache-2.0
// Life cycle, properties, asynchronous events and keep alive; admin_commands.cc has the rest.
#include "nvme/controller.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "nvme/spec/fabrics.h"
#include "nvme/spec/identify.h"

namespace remora::nvme {

namespace {

using spec::Command;
using spec::FabricsType;
using spec::StatusCode;

/// A discovery controller whose host asked for no keep alive must still notice a dead host.
constexpr std::uint32_t kDiscoveryKeepAliveMs = 120'000;
/// KAS is one: time-outs count in 100 ms (NVM Express Base 2.0, Keep Alive Support).
constexpr std::uint32_t kKeepAliveStepMs = 100;
/// CAP.TO in 500 ms: enable and disable take no time, closing queues waits for their requests.
constexpr std::uint64_t kTimeoutHalfSeconds = 120;

constexpr std::uint32_t kEntrySizesMask =
    (0xfU << spec::cc::kIoSqesShift) | (0xfU << spec::cc::kIoCqesShift);
constexpr std::uint32_t kUnsupportedCc =
    (7U << spec::cc::kCssShift) | (0xfU << spec::cc::kMpsShift) | (7U << spec::cc::kAmsShift);

/// What is reported unless the host configures another (Asynchronous Event Configuration).
std::uint32_t default_events(const ControllerOptions& options) {
    if (options.type == ControllerType::Discovery) {
        return 0;
    }
    return spec::kEventNamespaceAttribute |
           (options.attachment == Attachment::Pcie ? 0U : spec::kEventAnaChange);
}

AdminResult failed(StatusCode code) {
    return {.status = spec::status_field(code, true)};
}

spec::PropertyCommand as_property(const Command& command) {
    spec::PropertyCommand property;
    std::memcpy(&property, &command, sizeof(property));
    return property;
}

std::uint32_t usable_keep_alive(std::uint32_t asked_ms, ControllerType type) {
    if (asked_ms == 0) {
        return type == ControllerType::Discovery ? kDiscoveryKeepAliveMs : 0;
    }
    constexpr std::uint32_t kMaxMs = 24U * 3600U * 1000U;
    const std::uint32_t bounded = std::min(asked_ms, kMaxMs);
    return (bounded + kKeepAliveStepMs - 1) / kKeepAliveStepMs * kKeepAliveStepMs;
}

}  // namespace

Controller::Controller(reactor::Reactor& reactor,
                       ControllerTransport& transport,
                       const Subsystem* subsystem,
                       const Directory* directory,
                       ControllerOptions options)
    : reactor_(reactor),
      transport_(&transport),
      subsystem_(subsystem),
      directory_(directory),
      options_(std::move(options)),
      keep_alive_timer_(*this),
      event_config_(default_events(options_)),
      stored_{Stored{spec::Feature::Arbitration, 0},
              Stored{spec::Feature::PowerManagement, 0},
              Stored{spec::Feature::TemperatureThreshold, 0x0157},  // 343 K
              Stored{spec::Feature::ErrorRecovery, 0},
              Stored{spec::Feature::WriteAtomicity, 0},
              Stored{spec::Feature::InterruptCoalescing, 0}} {
    CHECK(discovery() ? directory_ != nullptr : subsystem_ != nullptr);
    CHECK(discovery() || pcie() == (options_.port == nullptr));
    CHECK(options_.vectors <= kMaxVectors);
    changed_.reserve(kMaxChanged);
    options_.keep_alive_ms = usable_keep_alive(options_.keep_alive_ms, options_.type);
    start_keep_alive();
}

void Controller::detach() {
    keep_alive_timer_.cancel();
    event_request_count_ = 0;
    transport_ = nullptr;
}

// --- Keep alive (NVM Express Base 2.0, Keep Alive) ---

void Controller::start_keep_alive() {
    last_alive_ = reactor_.now();
    if (options_.keep_alive_ms == 0) {
        keep_alive_timer_.cancel();
    } else {
        reactor_.arm(keep_alive_timer_,
                     last_alive_ + std::chrono::milliseconds(options_.keep_alive_ms));
    }
}

void Controller::on_timer(reactor::Timer& /*timer*/) {
    // The timer is not moved with each command; it looks back when it fires.
    const Nanos due = last_alive_ + std::chrono::milliseconds(options_.keep_alive_ms);
    if (reactor_.now() < due) {
        reactor_.arm(keep_alive_timer_, due);
        return;
    }
    expired_ = true;
    csts_ |= spec::csts::kFatal;
    if (transport_ != nullptr) {
        transport_->end_association();
    }
}

// --- Commands ---

AdminPlan Controller::plan(const Command& command) const {
    if (command.fuse() != 0) {
        return {.status = spec::status_field(StatusCode::InvalidField, true)};
    }
    if (command.opcode == spec::kFabricsOpcode) {
        return {};
    }
    // NVM Express Base 2.0, Controller Initialization: nothing but fabrics commands before ready.
    if (!ready()) {
        return {.status = spec::status_field(StatusCode::CommandSequenceError, true)};
    }
    switch (static_cast<spec::AdminOpcode>(command.opcode)) {
        case spec::AdminOpcode::Identify:
            return plan_identify(command);
        case spec::AdminOpcode::GetLogPage:
            return plan_log_page(command);
        case spec::AdminOpcode::GetFeatures:
            if ((command.cdw10 & 0xffU) ==
                static_cast<std::uint8_t>(spec::Feature::HostIdentifier)) {
                return {.transfer = Transfer::ToHost,
                        .bytes = static_cast<std::uint32_t>(options_.host_id.size())};
            }
            return {};
        case spec::AdminOpcode::SetFeatures:
        case spec::AdminOpcode::Abort:
        case spec::AdminOpcode::AsyncEventRequest:
        case spec::AdminOpcode::KeepAlive:
            return {};
    }
    return {.status = spec::status_field(StatusCode::InvalidOpcode, true)};
}

AdminResult Controller::execute(const Command& command,
                                std::span<std::byte> data,
                                CommandToken token) {
    // Any admin command shows that the host lives; stricter than needed never, laxer never.
    last_alive_ = reactor_.now();
    if (command.opcode == spec::kFabricsOpcode) {
        switch (static_cast<FabricsType>(spec::fabrics_type(command))) {
            case FabricsType::PropertyGet:
                return property_get(command);
            case FabricsType::PropertySet:
                return property_set(command);
            case FabricsType::Connect:
                return failed(StatusCode::CommandSequenceError);
            case FabricsType::AuthenticationSend:
            case FabricsType::AuthenticationReceive:
            case FabricsType::Disconnect:
                break;
        }
        return failed(StatusCode::InvalidOpcode);
    }
    if (!ready()) {
        return failed(StatusCode::CommandSequenceError);
    }
    switch (static_cast<spec::AdminOpcode>(command.opcode)) {
        case spec::AdminOpcode::Identify:
            return spec::lists_controllers(command)
                       ? list_controllers(command, token)
                       : AdminResult{.status = identify(command, data)};
        case spec::AdminOpcode::GetLogPage:
            return spec::is_health_page(command) ? health_page(command, token)
                                                 : AdminResult{.status = log_page(command, data)};
        case spec::AdminOpcode::GetFeatures:
            return get_features(command, data);
        case spec::AdminOpcode::SetFeatures:
            return set_features(command, token);
        case spec::AdminOpcode::Abort:
            return abort(command);
        case spec::AdminOpcode::AsyncEventRequest:
            return event_request(command, token);
        case spec::AdminOpcode::KeepAlive:
            return {};
    }
    return failed(StatusCode::InvalidOpcode);
}

// --- Properties ---

std::uint64_t Controller::cap() const {
    return ((options_.max_queue_entries - 1U) & spec::cap::kMqesMask) |
           spec::cap::kContiguousQueues | (kTimeoutHalfSeconds << spec::cap::kTimeoutShift) |
           spec::cap::kNvmCommandSet;
}

AdminResult Controller::property_get(const Command& command) const {
    const spec::PropertyCommand property = as_property(command);
    const bool wide = (property.attributes & spec::kPropertySizeMask) == spec::kProperty8Bytes;
    if (!wide && (property.attributes & spec::kPropertySizeMask) != spec::kProperty4Bytes) {
        return failed(StatusCode::InvalidField);
    }
    std::uint64_t value = 0;
    switch (property.offset.get()) {
        case spec::kPropertyCap:
            value = cap();
            break;
        case spec::kPropertyVs:
            value = spec::kVersion14;
            break;
        case spec::kPropertyCc:
            value = cc_;
            break;
        case spec::kPropertyCsts:
            value = csts_;
            break;
        case spec::kPropertyNssr:
            break;
        default:
            return failed(StatusCode::InvalidField);
    }
    // Only CAP has 8 bytes, and it is not read in halves.
    if (wide != (property.offset == spec::kPropertyCap)) {
        return failed(StatusCode::InvalidField);
    }
    return {.dw0 = static_cast<std::uint32_t>(value & 0xffffffffU),
            .dw1 = static_cast<std::uint32_t>(value >> 32U)};
}

AdminResult Controller::property_set(const Command& command) {
    const spec::PropertyCommand property = as_property(command);
    if ((property.attributes & spec::kPropertySizeMask) != spec::kProperty4Bytes ||
        property.offset != spec::kPropertyCc) {
        return failed(StatusCode::InvalidField);
    }
    return write_cc(static_cast<std::uint32_t>(property.value.get() & 0xffffffffU));
}

bool Controller::configure(std::uint32_t value) {
    return write_cc(value).status == 0;
}

void Controller::fail() {
    csts_ |= spec::csts::kFatal;
}

AdminResult Controller::write_cc(std::uint32_t value) {
    if (closing_ != Closing::No) {
        // The last change is still under way; CSTS tells when it is through.
        return failed(StatusCode::CommandSequenceError);
    }
    const std::uint32_t before = std::exchange(cc_, value);
    const bool was_enabled = (before & spec::cc::kEnable) != 0;
    const bool enabled = (value & spec::cc::kEnable) != 0;
    const bool shutdown_asked =
        (value & spec::cc::kShutdownMask) != 0 && (before & spec::cc::kShutdownMask) == 0;
    if (!was_enabled && enabled) {
        enable(value);
    }
    if (was_enabled && !enabled) {
        closing_ = Closing::Reset;
    } else if (shutdown_asked) {
        closing_ = Closing::Shutdown;
        csts_ = (csts_ & ~spec::csts::kShutdownMask) | spec::csts::kShutdownBusy;
    }
    if (closing_ != Closing::No) {
        drop_event_requests();
        if (io_queues_ == 0 || transport_ == nullptr) {
            io_queues_closed();
        } else {
            transport_->close_io_queues();
        }
    }
    return {};
}

void Controller::enable(std::uint32_t value) {
    // Over PCIe they are of no use before I/O queues are created (NVM Express Base 2.0, CC).
    const bool sizes = discovery() || (pcie() && (value & kEntrySizesMask) == 0) ||
                       (value & kEntrySizesMask) == spec::cc::kNvmEntrySizes;
    const bool supported = (value & kUnsupportedCc) == 0 && sizes;
    csts_ = supported ? spec::csts::kReady : spec::csts::kFatal;
    event_request_count_ = 0;  // those of an admin queue before this one are nobody's
}

void Controller::io_queues_closed() {
    switch (std::exchange(closing_, Closing::No)) {
        case Closing::No:
            break;
        case Closing::Reset:
            csts_ = 0;
            event_config_ = default_events(options_);
            namespace_notice_ = {};
            ana_notice_ = {};
            discovery_notice_ = {};
            reservation_notice_ = {};
            error_notice_ = {};
            reservation_log_ = {};
            not_coalesced_.reset();
            break;
        case Closing::Shutdown:
            csts_ = (csts_ & ~spec::csts::kShutdownMask) | spec::csts::kShutdownDone;
            break;
    }
}

std::uint16_t Controller::check_io_connect(std::uint16_t qid,
                                           std::uint16_t sqsize,
                                           std::uint32_t& dw0) const {
    using spec::ConnectCommand;
    dw0 = 0;
    if (discovery()) {
        return spec::status_field(StatusCode::ConnectInvalidQueueType, true);
    }
    if (!ready() || closing_ != Closing::No || (csts_ & spec::csts::kShutdownMask) != 0) {
        return spec::status_field(StatusCode::CommandSequenceError, true);
    }
    if (qid == 0 || qid > options_.max_io_queues) {
        dw0 = spec::connect_invalid_parameter(offsetof(ConnectCommand, qid), false);
        return spec::status_field(StatusCode::ConnectInvalidParameters, true);
    }
    if (sqsize == 0 || sqsize >= options_.max_queue_entries) {
        dw0 = spec::connect_invalid_parameter(offsetof(ConnectCommand, sqsize), false);
        return spec::status_field(StatusCode::ConnectInvalidParameters, true);
    }
    return 0;
}

// --- Asynchronous events ---

AdminResult Controller::event_request(const Command& command, CommandToken token) {
    if (event_request_count_ == kMaxEventRequests) {
        return failed(StatusCode::AsyncEventLimitExceeded);
    }
    event_requests_[event_request_count_++] = {token, command.cid};
    deliver_events();
    return {.pending = true};
}

AdminResult Controller::abort(const Command& command) {
    const auto sqid = static_cast<std::uint16_t>(command.cdw10 & 0xffffU);
    const auto cid = static_cast<std::uint16_t>(command.cdw10 >> 16U);
    constexpr std::uint32_t kNotAborted = 1;
    if (sqid != 0) {
        return {.dw0 = kNotAborted};
    }
    const auto end = event_requests_.begin() + static_cast<std::ptrdiff_t>(event_request_count_);
    const auto at = std::find_if(event_requests_.begin(), end,
                                 [cid](const EventRequest& request) { return request.cid == cid; });
    if (at == end || transport_ == nullptr) {
        return {.dw0 = kNotAborted};
    }
    const CommandToken token = at->token;
    std::move(at + 1, end, at);
    --event_request_count_;
    transport_->complete_event(token, spec::status_field(StatusCode::AbortRequested), 0);
    return {};
}

void Controller::namespace_changed(std::uint32_t nsid) {
    const auto at = std::lower_bound(changed_.begin(), changed_.end(), nsid);
    if (at == changed_.end() || *at != nsid) {
        if (changed_.size() == kMaxChanged) {
            changed_overflow_ = true;
        } else {
            changed_.insert(at, nsid);
        }
    }
    namespace_notice_.pending = true;
    if (subsystem_->find(nsid) == nullptr) {
        reservation_log_.forget(nsid);
    }
    deliver_events();
}

void Controller::discovery_changed() {
    discovery_notice_.pending = true;
    deliver_events();
}

void Controller::doorbell_error(std::uint32_t event) {
    if (!std::exchange(error_notice_.pending, true)) {
        error_event_ = event;
    }
    deliver_events();
}

void Controller::ana_changed() {
    ana_notice_.pending = true;
    deliver_events();
}

void Controller::deliver_events() {
    if (!ready() || transport_ == nullptr) {
        return;
    }
    deliver(error_notice_, error_event_);  // no feature masks errors
    if ((event_config_ & spec::kEventNamespaceAttribute) != 0) {
        deliver(namespace_notice_, spec::kNoticeNamespaces);
    }
    if ((event_config_ & spec::kEventAnaChange) != 0) {
        deliver(ana_notice_, spec::kNoticeAna);
    }
    if ((event_config_ & spec::kEventDiscoveryLog) != 0) {
        deliver(discovery_notice_, spec::kNoticeDiscovery);
    }
    // Its own feature masks it, before it is in the log.
    deliver(reservation_notice_, spec::kNoticeReservation);
}

bool Controller::deliver(Notice& notice, std::uint32_t dw0) {
    if (!notice.pending || notice.masked || event_request_count_ == 0) {
        return false;
    }
    notice.pending = false;
    notice.masked = true;
    const CommandToken token = event_requests_[0].token;
    std::move(event_requests_.begin() + 1,
              event_requests_.begin() + static_cast<std::ptrdiff_t>(event_request_count_),
              event_requests_.begin());
    --event_request_count_;
    transport_->complete_event(token, 0, dw0);
    return true;
}

void Controller::drop_event_requests() {
    while (event_request_count_ > 0) {
        const CommandToken token = event_requests_[--event_request_count_].token;
        if (transport_ != nullptr) {
            transport_->complete_event(token, spec::status_field(StatusCode::AbortRequested), 0);
        }
    }
}

}  // namespace remora::nvme
