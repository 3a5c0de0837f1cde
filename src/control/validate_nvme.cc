// SPDX-License-Identifier: Apache-2.0
#include "control/validate_nvme.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "control/validate_disk.h"
#include "control/validate_qos.h"
#include "control/validate_volume.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using reactor::Endpoint;

namespace {

constexpr std::size_t kLongestNqn = 223;    // NVMe Base 2.0, 4.5
constexpr std::size_t kLongestSerial = 20;  // Identify Controller, SN
constexpr std::size_t kLongestModel = 40;   // Identify Controller, MN
constexpr std::int64_t kMostQueues = 128;
constexpr std::int64_t kSmallestQueue = 2;
constexpr std::int64_t kLargestQueue = 1024;

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_alnum(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::unexpected<core::Error> invalid(const std::string& message) {
    return fail(ErrorKind::InvalidArgument, message);
}

/// "2019-09" in front, a domain after the dot, something after a colon if there is one.
bool is_dated_nqn(std::string_view nqn) {
    constexpr std::string_view kLead = "nqn.";
    if (!nqn.starts_with(kLead) || nqn.size() < kLead.size() + 9) {
        return false;
    }
    nqn.remove_prefix(kLead.size());
    const auto digits = [&](std::size_t at, std::size_t count) {
        return std::all_of(nqn.begin() + static_cast<std::ptrdiff_t>(at),
                           nqn.begin() + static_cast<std::ptrdiff_t>(at + count), is_digit);
    };
    const bool dated = digits(0, 4) && nqn[4] == '-' && digits(5, 2) && nqn[7] == '.';
    if (!dated || nqn.substr(5, 2) < "01" || nqn.substr(5, 2) > "12") {
        return false;
    }
    nqn.remove_prefix(8);
    const auto colon = nqn.find(':');
    const std::string_view domain = nqn.substr(0, colon);
    const bool domain_ok = !domain.empty() && is_alnum(domain.front()) && is_alnum(domain.back()) &&
                           std::all_of(domain.begin(), domain.end(),
                                       [](char c) { return is_alnum(c) || c == '-' || c == '.'; });
    const bool rest_ok = colon == std::string_view::npos || colon + 1 < nqn.size();
    return domain_ok && rest_ok &&
           std::all_of(nqn.begin(), nqn.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

bool is_printable(const std::string& text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < 0x7f; });
}

Result<void> check_family(std::string_view field,
                          const std::string& traddr,
                          opi::NvmeAddressFamily family) {
    const bool six = traddr.find(':') != std::string::npos;
    if ((family == opi::NVME_ADDRESS_FAMILY_IPV4 && !six) ||
        (family == opi::NVME_ADDRESS_FAMILY_IPV6 && six)) {
        return {};
    }
    return invalid(std::string(field) + ": the address " + traddr + " is not of the family " +
                   opi::NvmeAddressFamily_Name(family) +
                   "; use NVME_ADDRESS_FAMILY_IPV4 or NVME_ADDRESS_FAMILY_IPV6 as it is");
}

Result<void> check_no_psk(std::string_view field, const std::string& psk) {
    if (psk.empty()) {
        return {};
    }
    return fail(ErrorKind::Unimplemented,
                std::string(field) + ": TLS is not supported; leave the key out");
}

}  // namespace

Result<void> check_nqn(std::string_view field, const std::string& nqn) {
    if (nqn.size() > kLongestNqn) {
        return invalid(std::string(field) + ": an NQN has at most 223 bytes, this one has " +
                       std::to_string(nqn.size()));
    }
    if (!is_dated_nqn(nqn)) {
        return invalid(std::string(field) + ": \"" + nqn +
                       "\" is not an NQN; it looks like nqn.2014-08.org.example:name");
    }
    return {};
}

Result<void> validate(const opi::NvmeSubsystem& subsystem) {
    const opi::NvmeSubsystemSpec& spec = subsystem.spec();
    if (auto nqn = check_nqn("spec.nqn", spec.nqn()); !nqn) {
        return nqn;
    }
    if (spec.nqn() == "nqn.2014-08.org.nvmexpress.discovery") {
        return invalid("spec.nqn: the discovery subsystem is there by itself; use another NQN");
    }
    if (!spec.hostnqn().empty()) {
        if (auto host = check_nqn("spec.hostnqn", spec.hostnqn()); !host) {
            return host;
        }
    }
    if (spec.serial_number().size() > kLongestSerial || !is_printable(spec.serial_number())) {
        return invalid("spec.serial_number: at most 20 printable characters");
    }
    if (spec.model_number().size() > kLongestModel || !is_printable(spec.model_number())) {
        return invalid("spec.model_number: at most 40 printable characters");
    }
    if (spec.max_namespaces() < 0 || spec.max_namespaces() > kMostNamespaces) {
        return invalid("spec.max_namespaces: 0 (the server's limit) to " +
                       std::to_string(kMostNamespaces));
    }
    return check_no_psk("spec.psk", spec.psk());
}

Result<Endpoint> read_endpoint(std::string_view field,
                               const std::string& traddr,
                               const std::string& trsvcid,
                               bool allow_port_zero) {
    std::uint16_t port = 0;
    const char* end = trsvcid.data() + trsvcid.size();
    const auto parsed = std::from_chars(trsvcid.data(), end, port);
    if (parsed.ec != std::errc() || parsed.ptr != end || (port == 0 && !allow_port_zero)) {
        return invalid(std::string(field) + ".trsvcid: \"" + trsvcid +
                       "\" is not a TCP port like 4420");
    }
    const bool six = traddr.find(':') != std::string::npos;
    const std::string text = (six ? "[" + traddr + "]" : traddr) + ":" + std::to_string(port);
    auto endpoint = Endpoint::parse(text);
    if (!endpoint || endpoint->family != Endpoint::Family::Tcp) {
        return invalid(std::string(field) + ".traddr: \"" + traddr +
                       "\" is not a numeric IPv4 or IPv6 address");
    }
    return endpoint;
}

Result<Endpoint> endpoint_of(const opi::NvmeController& controller) {
    const opi::FabricsEndpoint& fabrics = controller.spec().fabrics_id();
    return read_endpoint("spec.fabrics_id", fabrics.traddr(), fabrics.trsvcid(), true);
}

Result<Endpoint> endpoint_of(const opi::NvmePath& path) {
    return read_endpoint("nvme_path", path.traddr(), std::to_string(path.fabrics().trsvcid()),
                         false);
}

/// What a client states of sizes is only kept and shown, but has to be something that a controller
/// can have: queues are counted in 16 bits, entry sizes are exponents in four (NVMe Base 2.0,
/// Figure 36, CC).
Result<void> check_counts(const opi::NvmeControllerSpec& spec) {
    constexpr std::int32_t kMostQueuePairs = 65535;
    constexpr std::int32_t kLargestExponent = 15;
    struct Rule {
        const char* field;
        std::int32_t value;
        std::int32_t most;
    };
    for (const Rule& rule :
         {Rule{"max_nsq", spec.max_nsq(), kMostQueuePairs},
          Rule{"max_ncq", spec.max_ncq(), kMostQueuePairs},
          Rule{"sqes", spec.sqes(), kLargestExponent}, Rule{"cqes", spec.cqes(), kLargestExponent},
          Rule{"max_namespaces", spec.max_namespaces(),
               std::numeric_limits<std::int32_t>::max()}}) {
        if (rule.value < 0 || rule.value > rule.most) {
            return invalid("spec." + std::string(rule.field) + ": " + std::to_string(rule.value) +
                           " is not 0 to " + std::to_string(rule.most));
        }
    }
    return {};
}

/// Where hosts reach a controller over TCP.
Result<void> check_listener(const opi::NvmeController& controller) {
    const opi::NvmeControllerSpec& spec = controller.spec();
    if (!spec.has_fabrics_id()) {
        return invalid("spec.fabrics_id: TCP needs the address and port to listen on");
    }
    if (auto endpoint = endpoint_of(controller); !endpoint) {
        return std::unexpected(endpoint.error());
    }
    return check_family("spec.fabrics_id", spec.fabrics_id().traddr(), spec.fabrics_id().adrfam());
}

/// The function that one over PCIe is.
Result<void> check_host_function(const opi::NvmeControllerSpec& spec,
                                 const platform::FunctionCounts& places) {
    constexpr std::int32_t kMostPairs = 64;
    if (!spec.has_pcie_id()) {
        return invalid("spec.pcie_id: PCIe needs the function of the local host");
    }
    if (spec.max_nsq() > kMostPairs || spec.max_ncq() > kMostPairs) {
        return invalid("spec.max_nsq, spec.max_ncq: a function has 1 to " +
                       std::to_string(kMostPairs) + " queues for I/O; 0 is the default");
    }
    return check_pcie_id("spec.pcie_id", spec.pcie_id(), places);
}

Result<void> validate(const opi::NvmeController& controller,
                      const platform::FunctionCounts& places) {
    const opi::NvmeControllerSpec& spec = controller.spec();
    const bool pcie = spec.trtype() == opi::NVME_TRANSPORT_TYPE_PCIE;
    if (!pcie && spec.trtype() != opi::NVME_TRANSPORT_TYPE_TCP) {
        return fail(ErrorKind::Unimplemented,
                    "spec.trtype: " + opi::NvmeTransportType_Name(spec.trtype()) +
                        " is not supported; use NVME_TRANSPORT_TYPE_TCP or _PCIE");
    }
    auto place = pcie ? check_host_function(spec, places) : check_listener(controller);
    if (!place) {
        return place;
    }
    if (auto counts = check_counts(spec); !counts) {
        return counts;
    }
    return check_rates("nvme_controller.spec.min_limit", spec.min_limit(),
                       "nvme_controller.spec.max_limit", spec.max_limit());
}

Result<std::array<unsigned char, 16>> read_nguid(const std::string& text) {
    std::array<unsigned char, 16> nguid{};
    std::string digits;
    std::copy_if(text.begin(), text.end(), std::back_inserter(digits),
                 [](char c) { return c != '-'; });
    if (digits.empty() && text.empty()) {
        return nguid;
    }
    bool fine = digits.size() == 2 * nguid.size();
    for (std::size_t i = 0; fine && i < nguid.size(); ++i) {
        const char* at = digits.data() + 2 * i;
        const auto parsed = std::from_chars(at, at + 2, nguid[i], 16);
        fine = parsed.ec == std::errc() && parsed.ptr == at + 2;
    }
    if (!fine) {
        return invalid("spec.nguid: \"" + text + "\" is not 32 hex digits");
    }
    return nguid;
}

Result<void> validate(const opi::NvmeNamespace& space) {
    const opi::NvmeNamespaceSpec& spec = space.spec();
    if (spec.host_nsid() < 0) {
        return invalid("spec.host_nsid: " + std::to_string(spec.host_nsid()) +
                       " is negative; 0 lets the server choose");
    }
    if (auto uuid = read_uuid("spec.uuid", spec.uuid()); !uuid) {
        return std::unexpected(uuid.error());
    }
    if (auto nguid = read_nguid(spec.nguid()); !nguid) {
        return std::unexpected(nguid.error());
    }
    return {};
}

Result<void> validate(const opi::NvmeRemoteController& controller) {
    if (!opi::NvmeMultipath_IsValid(controller.multipath())) {
        return invalid("multipath: " + std::to_string(controller.multipath()) + " is no policy");
    }
    if (controller.io_queues_count() < 0 || controller.io_queues_count() > kMostQueues) {
        return invalid("io_queues_count: 0 (one a core) to " + std::to_string(kMostQueues));
    }
    if (controller.queue_size() != 0 &&
        (controller.queue_size() < kSmallestQueue || controller.queue_size() > kLargestQueue)) {
        return invalid("queue_size: 0 (the default) or " + std::to_string(kSmallestQueue) + " to " +
                       std::to_string(kLargestQueue));
    }
    return check_no_psk("tcp.psk", controller.tcp().psk());
}

Result<void> validate(const opi::NvmePath& path) {
    if (path.trtype() == opi::NVME_TRANSPORT_TYPE_PCIE && path.has_fabrics()) {
        return invalid("nvme_path.fabrics: a PCIe path has none");
    }
    if (path.trtype() != opi::NVME_TRANSPORT_TYPE_TCP) {
        return fail(ErrorKind::Unimplemented,
                    "nvme_path.trtype: " + opi::NvmeTransportType_Name(path.trtype()) +
                        " is not supported; use NVME_TRANSPORT_TYPE_TCP");
    }
    if (!path.has_fabrics()) {
        return invalid("nvme_path.fabrics: TCP needs port, subsystem NQN and address family");
    }
    const opi::FabricsPath& fabrics = path.fabrics();
    if (fabrics.trsvcid() < 1 || fabrics.trsvcid() > std::numeric_limits<std::uint16_t>::max()) {
        return invalid("nvme_path.fabrics.trsvcid: " + std::to_string(fabrics.trsvcid()) +
                       " is not a TCP port like 4420");
    }
    if (auto endpoint = endpoint_of(path); !endpoint) {
        return std::unexpected(endpoint.error());
    }
    if (auto family = check_family("nvme_path.fabrics.adrfam", path.traddr(), fabrics.adrfam());
        !family) {
        return family;
    }
    if (auto nqn = check_nqn("nvme_path.fabrics.subnqn", fabrics.subnqn()); !nqn) {
        return nqn;
    }
    if (!fabrics.source_traddr().empty() || fabrics.source_trsvcid() != 0) {
        return fail(ErrorKind::Unimplemented,
                    "nvme_path.fabrics.source_traddr, source_trsvcid: a source address is not "
                    "supported; leave it out");
    }
    return fabrics.hostnqn().empty() ? Result<void>()
                                     : check_nqn("nvme_path.fabrics.hostnqn", fabrics.hostnqn());
}

}  // namespace remora::control
