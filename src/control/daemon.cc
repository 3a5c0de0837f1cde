// SPDX-License-Identifier: Apache-2.0
#include "control/daemon.h"

#include <filesystem>
#include <future>
#include <openssl/rand.h>
#include <optional>
#include <type_traits>
#include <utility>

#include "control/audit_file.h"
#include "control/audit_log.h"
#include "control/control_plane.h"
#include "control/grpc_server.h"
#include "control/identity.h"
#include "control/seal_key_file.h"
#include "control/sqlite_store.h"
#include "core/log.h"
#include "node/local_node.h"
#include "node/runtime.h"
#include "platform/machine_files.h"
#include "platform/null_platform.h"
#include "platform/qemu_platform.h"
#include "reactor/call.h"
#include "services/crypto/xts_self_test.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

constexpr core::Nanos kStopLimit = std::chrono::seconds(8);
/// A socket's path has 108 bytes with its final zero (unix(7)); ids may have 63.
constexpr std::size_t kLongestSocketDirectory = 107 - 1 - kMaxIdLength;

/// Runs `body` on the reactor and waits for its result. `body` returns a Task or a plain value.
template <typename Body>
auto run_on(reactor::Reactor& reactor, Body body) {
    using Value = typename reactor::detail::CallValue<std::invoke_result_t<Body&>>::Type;
    struct Job {
        static reactor::Task<> run(Body* body, std::promise<Value>* promise) {
            if constexpr (!reactor::detail::IsTask<std::invoke_result_t<Body&>>::value) {
                promise->set_value((*body)());
                co_return;
            } else {
                promise->set_value(co_await (*body)());
            }
        }
    };
    std::promise<Value> promise;
    auto future = promise.get_future();
    reactor::Gate gate;
    reactor.post_function([&] { (void)gate.spawn(&Job::run, &body, &promise); });
    future.wait();
    // The gate is left after the value was set: one more turn and nobody is inside.
    std::promise<void> left;
    reactor.post_function([&] { left.set_value(); });
    left.get_future().wait();
    return future.get();
}

Result<std::uint64_t> random_seed() {
    std::uint64_t seed = 0;
    if (RAND_bytes(reinterpret_cast<unsigned char*>(&seed), sizeof seed) != 1) {
        return fail(ErrorKind::Internal, "the machine gives no random numbers");
    }
    return seed;
}

Result<std::string> make_socket_directory(const DaemonOptions& options) {
    const std::string given = options.socket_directory.empty() ? options.state_directory + "/vhost"
                                                               : options.socket_directory;
    std::error_code trouble;
    std::string directory = std::filesystem::absolute(given, trouble).string();
    std::filesystem::create_directories(directory, trouble);
    if (trouble) {
        return fail(ErrorKind::FailedPrecondition,
                    "cannot make the socket directory " + directory + ": " + trouble.message());
    }
    if (directory.size() > kLongestSocketDirectory) {
        log::warn("socket directory is long: devices with long ids will be refused",
                  log::kv("directory", directory));
    }
    return directory;
}

/// Null when there is to be none.
Result<std::shared_ptr<AuditLog>> start_audit(const DaemonOptions& options) {
    if (options.audit == "none") {
        return nullptr;
    }
    const std::string path =
        options.audit.empty() ? options.state_directory + "/audit.log" : options.audit;
    auto file = AuditFile::open(path, {});
    if (!file) {
        return fail("--audit", file.error());
    }
    const std::uint64_t last_number = (*file)->last_number();
    return AuditLog::start(std::move(*file), last_number);
}

Result<std::unique_ptr<platform::HostPlatform>> make_platform(const DaemonOptions& options) {
    if (options.qmp.empty()) {
        if (!options.functions.empty() || !options.virtual_functions.empty()) {
            return fail(ErrorKind::InvalidArgument,
                        "--functions and --virtual-functions say where a QEMU has its places: give "
                        "--qmp as well");
        }
        return std::make_unique<platform::NullPlatform>();
    }
    if (options.functions.empty()) {
        return fail(ErrorKind::InvalidArgument,
                    "--qmp needs --functions, to say which PCI places carry the host functions");
    }
    auto monitor = reactor::Endpoint::parse(options.qmp);
    if (!monitor) {
        return fail("--qmp", monitor.error());
    }
    auto places = platform::parse_functions(options.functions);
    if (!places) {
        return fail("--functions", places.error());
    }
    for (const std::string& own : options.virtual_functions) {
        if (auto added = platform::add_virtual_functions(own, *places); !added) {
            return fail("--virtual-functions", added.error());
        }
    }
    return std::make_unique<platform::QemuPlatform>(std::move(*monitor), std::move(*places));
}

Result<std::unique_ptr<SealKeyFile>> make_seal_keys(const DaemonOptions& options) {
    auto keys = std::make_unique<SealKeyFile>(
        find_seal_key(options.seal_key, options.credentials_directory, options.state_directory));
    if (auto checked = keys->check(); !checked) {
        return std::unexpected(checked.error());
    }
    return keys;
}

/// The fastest that computes AES-XTS and nothing else on this processor, in this build.
std::optional<services::crypto::XtsKernel> trusted_kernel() {
    std::optional<services::crypto::XtsKernel> trusted;
    for (const services::crypto::KernelTrial& trial : services::crypto::try_kernels()) {
        if (!trial.outcome) {
            log::error("cipher not used", log::kv("kernel", to_string(trial.kernel)),
                       log::kv("reason", trial.outcome.error().message));
        } else if (!trusted) {
            trusted = trial.kernel;
        }
    }
    return trusted;
}

std::string name_of(std::optional<services::crypto::XtsKernel> kernel) {
    return kernel ? std::string(to_string(*kernel)) : "";
}

}  // namespace

struct Daemon::Parts {
    void make_plane(const DaemonOptions& options,
                    const Identity& identity,
                    const std::string& sockets,
                    core::Prng& prng);

    std::unique_ptr<SealKeyFile> seal_keys;
    std::unique_ptr<SqliteStore> store;
    std::unique_ptr<node::Runtime> runtime;
    // The next three live on the control reactor.
    std::unique_ptr<platform::HostPlatform> platform;
    std::unique_ptr<node::LocalNode> node;
    std::unique_ptr<ControlPlane> plane;
    std::unique_ptr<GrpcServer> server;
    bool stopped = false;
};

Daemon::Daemon(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Daemon::~Daemon() {
    if (!parts_->stopped && !stop()) {
        // Requests of guests still point into the data plane: it must not be freed under them.
        (void)parts_.release();
    }
}

/// The node and the control plane over it, on their reactor.
void Daemon::Parts::make_plane(const DaemonOptions& options,
                               const Identity& identity,
                               const std::string& sockets,
                               core::Prng& prng) {
    node::LocalNodeOptions node_options;
    node_options.identity = {identity.host_nqn, identity.host_id};
    node_options.path_timeout = options.path_timeout;
    node_options.crypt_kernel = trusted_kernel();
    node_options.frozen = options.handover.functions;
    Options plane_options;
    plane_options.socket_directory = sockets;
    plane_options.nvme_msix = options.nvme_msix;
    plane_options.reactors = static_cast<std::uint32_t>(runtime->data().size());
    plane_options.seal_keys = seal_keys.get();
    plane_options.crypt_kernel = name_of(node_options.crypt_kernel);
    reactor::Reactor& control = runtime->control();
    run_on(control, [&] {
        node = std::make_unique<node::LocalNode>(runtime->data(), control, node_options);
        plane = std::make_unique<ControlPlane>(*store, *node, *platform, core::Prng(prng.next()),
                                               plane_options);
        return true;
    });
}

Result<std::unique_ptr<Daemon>> Daemon::start(const DaemonOptions& options) {
    const auto sockets = make_socket_directory(options);
    if (!sockets) {
        return std::unexpected(sockets.error());
    }
    auto platform = make_platform(options);
    if (!platform) {
        return std::unexpected(platform.error());
    }
    const auto seed = random_seed();
    if (!seed) {
        return std::unexpected(seed.error());
    }
    core::Prng prng(*seed);
    auto seal_keys = make_seal_keys(options);
    if (!seal_keys) {
        return std::unexpected(seal_keys.error());
    }
    auto store = SqliteStore::open(options.state_directory);
    if (!store) {
        return std::unexpected(store.error());
    }
    auto audit = start_audit(options);  // The state folder is there and ours.
    if (!audit) {
        return std::unexpected(audit.error());
    }
    const auto identity = load_identity(**store, prng);
    if (!identity) {
        return std::unexpected(identity.error());
    }
    auto runtime = node::Runtime::start(
        {options.cores, options.spin, static_cast<std::size_t>(options.memory_bytes), prng.next()});
    if (!runtime) {
        return std::unexpected(runtime.error());
    }
    auto parts = std::make_unique<Parts>();
    parts->seal_keys = std::move(*seal_keys);
    parts->store = std::move(*store);
    parts->runtime = std::move(*runtime);
    parts->platform = std::move(*platform);
    Parts& all = *parts;
    // From here on the daemon takes itself apart when something fails.
    std::unique_ptr<Daemon> daemon(new Daemon(std::move(parts)));

    all.make_plane(options, *identity, *sockets, prng);
    reactor::Reactor& control = all.runtime->control();
    auto server = GrpcServer::start(options.grpc_address, control, *all.plane,
                                    platform::MachineFiles(), std::move(*audit));
    if (!server) {
        return std::unexpected(server.error());
    }
    all.server = std::move(*server);
    auto rebuilt = run_on(control, [&] { return all.plane->start(); });
    if (!rebuilt) {
        return std::unexpected(rebuilt.error());
    }
    all.server->set_serving(true);
    return daemon;
}

const std::string& Daemon::grpc_address() const {
    return parts_->server->address();
}

const std::vector<std::string>& Daemon::services() const {
    return parts_->server->services();
}

std::shared_ptr<grpc::Channel> Daemon::channel() const {
    return parts_->server->channel();
}

bool Daemon::stop() {
    Parts& all = *parts_;
    all.stopped = true;
    if (all.server != nullptr) {
        all.server->stop();
    }
    if (all.node == nullptr) {
        return true;
    }
    // First the calls under way, then the data plane; what is freed is freed on its reactor.
    const auto stop_plane = [&] {
        return all.plane->stop(reactor::Reactor::current().now() + kStopLimit);
    };
    if (!run_on(all.runtime->control(), stop_plane) ||
        !run_on(all.runtime->control(), [&] { return all.node->stop(kStopLimit); })) {
        return false;
    }
    run_on(all.runtime->control(), [&] {
        all.plane.reset();
        all.node.reset();
        all.platform.reset();
        return true;
    });
    return true;
}

Handover Daemon::hand_over() {
    Parts& all = *parts_;
    all.stopped = true;
    all.server->stop();
    const auto stop_plane = [&] {
        return all.plane->stop(reactor::Reactor::current().now() + kStopLimit);
    };
    if (run_on(all.runtime->control(), stop_plane)) {
        all.server.reset();  // with the audit log, whose last records are on their way
    } else {
        log::warn("calls are still under way; they end as by a crash");
    }
    return {run_on(all.runtime->control(), [&] { return all.node->hand_over(kStopLimit); })};
}

}  // namespace remora::control
