// SPDX-License-Identifier: Apache-2.0
// Connection: the fabrics Connect command (NVM Express Base 2.0, Connect Command).
#include <algorithm>
#include <cstring>

#include "core/log.h"
#include "frontends/nvme_tcp/association.h"
#include "frontends/nvme_tcp/connection.h"
#include "frontends/nvme_tcp/replica.h"
#include "frontends/nvme_tcp/shard.h"
#include "reactor/call.h"

namespace remora::frontends::nvme_tcp {

using nvme::spec::ConnectCommand;
using nvme::spec::ConnectData;
using nvme::spec::StatusCode;

namespace {

constexpr std::size_t kReserveAlignment = 4096;

// Do Not Retry makes a Linux host (6.12) give the controller up for good, so only what will never
// be right has it; what passes by itself has not.
std::uint16_t refused(StatusCode code) {
    return nvme::spec::status_field(code, true);
}

std::uint16_t refused_for_now(StatusCode code) {
    return nvme::spec::status_field(code);
}

ConnectCommand as_connect(const nvme::spec::Command& command) {
    ConnectCommand connect;
    std::memcpy(&connect, &command, sizeof(connect));
    return connect;
}

HostKey host_key(const ConnectData& data) {
    HostKey key{.subnqn = std::string(nvme::spec::field_text(data.subnqn)),
                .hostnqn = std::string(nvme::spec::field_text(data.hostnqn))};
    std::ranges::copy(data.host_id, key.host_id.begin());
    return key;
}

/// An NQN field is text of 1 to 223 bytes that ends inside the field.
bool is_nqn(const char (&field)[nvme::spec::kNqnFieldBytes]) {
    const std::size_t length = nvme::spec::field_text(field).size();
    return length > 0 && length <= nvme::spec::kNqnMaxBytes;
}

}  // namespace

void Connection::start_connect(Slot& slot, std::uint32_t in_capsule) {
    const bool connect = slot.command.opcode == nvme::spec::kFabricsOpcode &&
                         nvme::spec::fabrics_type(slot.command) ==
                             static_cast<std::uint8_t>(nvme::spec::FabricsType::Connect);
    if (!connect) {
        answer(slot, refused(StatusCode::CommandSequenceError));
        return;
    }
    const auto path = nvme::decode_sgl(slot.command, nvme::Transfer::FromHost,
                                       static_cast<std::uint32_t>(sizeof(ConnectData)), in_capsule);
    if (!path || *path != nvme::DataPath::InCapsule) {
        answer(slot, path ? refused(StatusCode::SglTypeInvalid) : path.error());
        return;
    }
    receive_into(slot, reinterpret_cast<std::byte*>(&connect_data_));
}

void Connection::refuse_connect(std::uint16_t status, std::uint32_t dw0) {
    log::info("connect refused", log::kv("peer", stats_.peer),
              log::kv("subsystem", nvme::spec::field_text(connect_data_.subnqn)),
              log::kv("host", nvme::spec::field_text(connect_data_.hostnqn)),
              log::kv("status", static_cast<std::uint16_t>(nvme::spec::status_code(status))),
              log::kv("parameter", dw0));
    if (Replica* replica = std::exchange(replica_, nullptr)) {
        replica->drop_user(*std::exchange(port_, nullptr));
    }
    state_ = State::AwaitConnect;
    answer(connect_slot_, status, dw0);
}

void Connection::refuse_parameter(std::size_t offset, bool in_data) {
    refuse_connect(refused(StatusCode::ConnectInvalidParameters),
                   nvme::spec::connect_invalid_parameter(offset, in_data));
}

void Connection::run_connect(Slot& slot) {
    if (slot.failure != 0) {
        answer(slot, slot.failure);
        return;
    }
    const ConnectCommand command = as_connect(slot.command);
    if (command.record_format != 0) {
        refuse_connect(refused(StatusCode::ConnectIncompatibleFormat), 0);
        return;
    }
    if (!is_nqn(connect_data_.subnqn)) {
        refuse_parameter(offsetof(ConnectData, subnqn), true);
        return;
    }
    if (!is_nqn(connect_data_.hostnqn)) {
        refuse_parameter(offsetof(ConnectData, hostnqn), true);
        return;
    }
    if (command.sqsize == 0 || command.sqsize >= shard_.limits().queue_depth) {
        refuse_parameter(offsetof(ConnectCommand, sqsize), false);
        return;
    }
    if (command.qid == 0 && connect_data_.cntlid != nvme::spec::kDynamicController) {
        refuse_parameter(offsetof(ConnectData, cntlid), true);
        return;
    }
    const auto subnqn = nvme::spec::field_text(connect_data_.subnqn);
    if (shard_.directory().is_discovery(subnqn)) {
        if (command.qid != 0) {
            refuse_connect(refused(StatusCode::ConnectInvalidQueueType), 0);
        } else {
            open_controller();
        }
        return;
    }
    Replica* replica = shard_.find_replica(subnqn);
    if (replica == nullptr) {
        refuse_parameter(offsetof(ConnectData, subnqn), true);
        return;
    }
    Port* port = replica->open_port(listener_);
    if (port == nullptr) {
        // Not here yet: after a restart an endpoint is open for its first subsystem before the
        // next ones are added to it, and their hosts are quick.
        refuse_connect(refused_for_now(StatusCode::ConnectInvalidParameters),
                       nvme::spec::connect_invalid_parameter(offsetof(ConnectData, subnqn), true));
        return;
    }
    if (!replica->subsystem.identity().admits(nvme::spec::field_text(connect_data_.hostnqn))) {
        refuse_connect(refused(StatusCode::ConnectInvalidHost), 0);
        return;
    }
    replica_ = replica;
    port_ = port;
    replica_->add_user(*port_);
    slot.state = SlotState::Executing;
    state_ = State::Connecting;
    connecting_ = true;
    arm(shard_.limits().hold + shard_.limits().handshake);
    const bool started = shard_.tasks().spawn(
        [](Connection* self) -> Task<> { co_await self->connect_queue(); }, this);
    if (!started) {
        connecting_ = false;
        slot.state = SlotState::Receiving;
        close("stopping");
    }
}

void Connection::open_controller() {
    nvme::ControllerOptions options;
    options.type = replica_ == nullptr ? nvme::ControllerType::Discovery : nvme::ControllerType::Io;
    options.hostnqn = std::string(nvme::spec::field_text(connect_data_.hostnqn));
    std::ranges::copy(connect_data_.host_id, options.host_id.begin());
    options.keep_alive_ms = as_connect(connect_slot_.command).keep_alive_ms;
    association_ = shard_.make_association(*this, replica_, port_, std::move(options));
    if (association_ == nullptr) {
        refuse_connect(refused_for_now(StatusCode::ConnectControllerBusy), 0);
        return;
    }
    become_live(association_->cntlid());
    if (replica_ != nullptr) {
        log::info("controller connected", log::kv("subsystem", replica_->nqn()),
                  log::kv("host", stats_.hostnqn), log::kv("cntlid", cntlid_));
    }
}

/// The rest of a Connect to a subsystem, which asks other reactors first.
Task<> Connection::connect_queue() {
    const bool admin = as_connect(connect_slot_.command).qid == 0;
    AttachReply reply;
    if (admin) {
        reply = co_await hold_connect();
    } else {
        reply = co_await attach();
    }
    connecting_ = false;
    connect_slot_.state = SlotState::Receiving;
    if (closing()) {
        release_slot(connect_slot_);
        run_later();  // deletes this connection, and tells the home that the queue is gone
    } else if (state_ == State::Terminating) {
        release_slot(connect_slot_);
    } else if (reply.status != 0) {
        refuse_connect(reply.status, reply.dw0);
    } else if (replica_->closing) {
        close("subsystem deleted");
    } else if (admin) {
        open_controller();
    } else {
        become_live(cntlid_);
    }
}

Task<AttachReply> Connection::hold_connect() {
    const HostKey host = host_key(connect_data_);
    const bool gone = co_await shard_.wait_departed_everywhere(host);
    co_return AttachReply{.status = gone ? std::uint16_t{0}
                                         : refused_for_now(StatusCode::ConnectControllerBusy)};
}

Task<AttachReply> Connection::attach() {
    const ConnectCommand command = as_connect(connect_slot_.command);
    AttachRequest request;
    request.cntlid = connect_data_.cntlid;
    request.qid = command.qid;
    request.sqsize = command.sqsize;
    request.host = host_key(connect_data_);
    request.shard = shard_.index();
    request.connection = id_;
    request.at = listener_;
    Shard& home = shard_.peer(shard_.home_of(request.cntlid));
    const AttachReply reply = co_await reactor::call_on(
        home.reactor(), [&home, &request] { return home.attach_queue(request); });
    attached_ = reply.status == 0;
    if (attached_) {
        stats_.cntlid = cntlid_ = request.cntlid;
        stats_.qid = qid_ = request.qid;
    }
    co_return reply;
}

void Connection::become_live(std::uint16_t cntlid) {
    const ConnectCommand command = as_connect(connect_slot_.command);
    const TargetLimits& limits = shard_.limits();
    cntlid_ = cntlid;
    qid_ = command.qid;
    depth_ = command.sqsize + 1U;
    flow_control_off_ = (command.attributes & nvme::spec::kConnectDisableFlowControl) != 0;
    slots_ = std::make_unique<Slot[]>(depth_);
    for (std::uint32_t i = 0; i < depth_; ++i) {
        slots_[i].index = static_cast<std::uint16_t>(i);
        free_.push_back(slots_[i]);
    }
    if (replica_ != nullptr) {
        errors_ = std::make_unique<nvme::ErrorNotes>();
    }
    decoder_.new_rules().max_in_capsule =
        qid_ == 0 ? nvme::tcp::kAdminInCapsuleBytes : limits.in_capsule_bytes;
    max_transfer_ = std::uint32_t{4096} << limits.transfer_shift;
    reserve_memory_ =
        std::make_unique<std::byte[]>(decoder_.rules().max_in_capsule + kReserveAlignment);
    void* at = reserve_memory_.get();
    std::size_t room = decoder_.rules().max_in_capsule + kReserveAlignment;
    at = std::align(kReserveAlignment, decoder_.rules().max_in_capsule, at, room);
    CHECK(at != nullptr);
    reserve_ = {static_cast<std::byte*>(at), decoder_.rules().max_in_capsule};
    reserve_free_ = true;
    std::ranges::copy(connect_data_.host_id, host_id_.begin());
    stats_.cntlid = cntlid_;
    stats_.qid = qid_;
    stats_.hostnqn = std::string(nvme::spec::field_text(connect_data_.hostnqn));
    state_ = State::Live;
    answer(connect_slot_, 0, cntlid_);
    arm(limits.stall);
}

}  // namespace remora::frontends::nvme_tcp
